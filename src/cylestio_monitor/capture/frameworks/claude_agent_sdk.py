"""The Claude Agent SDK: the runs of Claude Code, its model calls and its tools, read from the messages of the process.

The agent runs in a process of its own, which calls the model and the tools. A prompt is judged before it is written to
that process. The calls inside are seen when the process reports them.
"""

from __future__ import annotations

import functools
import json
import logging
import weakref
from typing import TYPE_CHECKING, Any

from cylestio_monitor import runtime, semconv
from cylestio_monitor.capture import call_wrappers
from cylestio_monitor.capture.frameworks import claude_permissions
from cylestio_monitor.capture.frameworks.tool_calls import tool_call
from cylestio_monitor.capture.parsing import message_parts
from cylestio_monitor.capture.parsing.fields import as_dict, as_list, count, text_or_none
from cylestio_monitor.capture.parsing.reading import PassedOver, pass_over, unread
from cylestio_monitor.capture.patching import Target
from cylestio_monitor.errors import BlockedError
from cylestio_monitor.model import Call, Result, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from types import ModuleType

    from cylestio_monitor.capture.patching import Patches
    from cylestio_monitor.model import Message, Part
    from cylestio_monitor.pipeline import Invocation

log = logging.getLogger(__name__)

_OTHERS = ("openinference.instrumentation.claude_agent_sdk", "openlit.instrumentation.claude_agent_sdk")
_AGENT = "claude-code"


class _Process:
    """The calls of one Claude Code process, by the tool call of the subagent that makes them; `None` for the agent."""

    __slots__ = ("__weakref__", "_answers", "_asked", "_chats", "_model", "_run", "_session", "_tools")

    def __init__(self) -> None:
        self._run: Invocation | None = None
        self._session: str | None = None
        self._model: str | None = None
        self._asked: dict[str | None, list[Message]] = {}
        self._chats: dict[str | None, Invocation] = {}
        self._answers: dict[str | None, dict[str, Any]] = {}
        self._tools: dict[str, Invocation] = {}
        runtime.open_calls.add(self)

    def prompt(self, content: Any) -> None:
        """Begins a run with a prompt, which is scanned before it is sent.

        Raises:
            BlockedError: The prompt is refused.
        """
        if self._run is None:
            self._run = call_wrappers.begin(self._agent_call)
        self._asked[None] = message_parts.messages([{"role": "user", "content": content}], "messages", "user")
        try:
            self._ask(None)
        except BlockedError as error:
            self.end(error=error)
            raise

    def receive(self, message: dict[str, Any]) -> None:
        """Takes a message of the process.

        Raises:
            BlockedError: A tool call that the model asks for is refused.
        """
        message = as_dict(message)
        parent = text_or_none(message.get("parent_tool_use_id"))
        kind = message.get("type")
        if kind == "system":
            self._session = text_or_none(message.get("session_id")) or self._session
            self._model = text_or_none(message.get("model")) or self._model
        elif kind == "assistant":
            self._answer(parent, as_dict(message.get("message")))
        elif kind == "user":
            self._returned(parent, as_dict(message.get("message")).get("content"))
        elif kind == "result":
            failed = message.get("is_error") is True
            self.end(error_type=text_or_none(message.get("subtype")) or "error" if failed else None)
        else:
            pass_over(message.get("message"))

    def unread(self, parts: list[Part]) -> None:
        """Takes what a message holds in a form that is not known, as something that the agent has said."""
        known = self._answers.get(None, {})
        self._answer(None, {"id": known.get("id"), "content": [part.content for part in parts]})

    def end(self, *, error: BaseException | None = None, error_type: str | None = None) -> None:
        """Ends everything that is under way.

        Args:
            error: What the SDK raised.
            error_type: The kind of failure that the process reported.
        """
        for parent in list(self._chats):
            self._end_chat(parent)
        while self._tools:
            self._tools.popitem()[1].end()
        run, self._run = self._run, None
        self._asked.clear()
        if run is not None:
            named = {semconv.CONVERSATION_ID: self._session} if self._session else {}
            run.end(Result(attributes=dict(named), error_type=error_type), error)

    def left_open(self) -> None:
        """Ends the calls because the process ends."""
        self.end()

    def _answer(self, parent: str | None, body: dict[str, Any]) -> None:
        """Takes a part of an answer: the process reports each content block in a message of its own."""
        known = self._answers.get(parent)
        if known is not None and known.get("id") != body.get("id"):
            self._end_chat(parent)
        self._model = text_or_none(body.get("model")) or self._model
        if parent not in self._chats:
            self._ask(parent)
        blocks = as_list(body.get("content"))
        before = as_list(self._answers.get(parent, {}).get("content"))
        self._answers[parent] = {**body, "content": [*before, *blocks]}
        for block in map(as_dict, blocks):
            if block.get("type") == "tool_use" and isinstance(block.get("id"), str):
                self._begin_tool(parent, block)

    def _begin_tool(self, parent: str | None, block: dict[str, Any]) -> None:
        tool = self._inside(parent, lambda: tool_call(block.get("name"), block.get("input"), call_id=block["id"]))
        if tool is not None:
            self._tools[block["id"]] = tool

    def _returned(self, parent: str | None, content: Any) -> None:
        """Takes the results of tools, which are also what the model is asked next."""
        self._end_chat(parent)
        for block in map(as_dict, content if isinstance(content, list) else ()):
            tool = self._tools.pop(str(block.get("tool_use_id")), None)
            if tool is not None:
                failed = block.get("is_error") is True
                tool.end(Result(response=block.get("content"), error_type="tool_error" if failed else None))
        self._asked[parent] = message_parts.messages([{"role": "user", "content": content}], "messages", "user")

    def _ask(self, parent: str | None) -> None:
        asked = self._asked.pop(parent, [])
        chat = self._inside(parent, lambda: self._chat_call(asked))
        if chat is not None:
            self._chats[parent] = chat

    def _end_chat(self, parent: str | None) -> None:
        chat, body = self._chats.pop(parent, None), self._answers.pop(parent, {})
        if chat is not None:
            chat.end(_result(body))

    def _inside(self, parent: str | None, make: Callable[[], Call]) -> Invocation | None:
        """Begins a call inside the run, or inside the tool call of a subagent."""
        around = self._tools.get(parent, self._run) if parent is not None else self._run
        if around is None:
            return call_wrappers.begin(make) if not call_wrappers.is_traced(_OTHERS) else None
        with call_wrappers.Inside(around):
            return call_wrappers.begin(make)

    def _agent_call(self) -> Call | None:
        if call_wrappers.is_traced(_OTHERS):
            return None
        attributes: dict[str, Any] = {semconv.AGENT_NAME: _AGENT}
        call = Call("invoke_agent", f"invoke_agent {_AGENT}", kind="internal", attributes=attributes)
        call.conversation_id = self._session
        return call

    def _chat_call(self, asked: list[Message]) -> Call:
        name = f"chat {self._model}" if self._model else "chat"
        call = Call("chat", name, provider="anthropic", model=self._model, messages=asked)
        call.conversation_id = self._session
        return call


def _result(body: dict[str, Any]) -> Result:
    result = Result(response_id=text_or_none(body.get("id")), model=text_or_none(body.get("model")))
    result.messages = message_parts.messages([body], "message", "assistant") if body else []
    if reason := text_or_none(body.get("stop_reason")):
        result.finish_reasons = [reason]
    used = as_dict(body.get("usage"))
    read, written = used.get("cache_read_input_tokens"), used.get("cache_creation_input_tokens")
    if used:
        result.usage = Usage(
            count(used.get("input_tokens"), read, written),
            count(used.get("output_tokens")),
            cache_read=count(read),
            cache_write=count(written),
        )
    return result


_processes: weakref.WeakKeyDictionary[object, _Process] = weakref.WeakKeyDictionary()


def _process_of(transport: object) -> _Process:
    process = _processes.get(transport)
    if process is None:
        process = _processes[transport] = _Process()
    return process


def _write(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps the method that writes a line to the process; a prompt is a message of type ``user``."""

    @functools.wraps(original)
    async def write(*args: Any, **kwargs: Any) -> Any:
        data = args[1] if len(args) > 1 else kwargs.get("data")
        claude_permissions.take_answer(data)
        if args and runtime.is_on():
            message = _prompt(data)
            if message is not None:
                _process_of(args[0]).prompt(message.get("content"))
        return await original(*args, **kwargs)

    return write


def _prompt(data: object) -> dict[str, Any] | None:
    try:
        message = json.loads(data) if isinstance(data, str) else None
    except ValueError:
        return None
    if not isinstance(message, dict) or message.get("type") != "user":
        return None
    return as_dict(message.get("message"))


def _receive(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps the generator of the messages that the process sends."""

    @functools.wraps(original)
    async def receive_messages(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        items = original(*args, **kwargs)
        process = _process_of(args[0].transport) if runtime.is_on() else None
        try:
            async for message in items:
                if process is not None:
                    _take(process, message)
                yield message
        except Exception as error:
            if process is not None:
                process.end(error=error)
            raise
        finally:
            await items.aclose()

    return receive_messages


def _take(process: _Process, message: Any) -> None:
    try:
        if left := _unread_parts(process, message):
            process.unread(left)
    except BlockedError:
        raise
    except Exception:  # a message of an unknown form: the application gets it nevertheless
        log.debug("Could not record a message of Claude Code", exc_info=True)


def _unread_parts(process: _Process, message: Any) -> list[Part]:
    """Hands a message to its process; returns what of it could not be read."""
    failed: list[Part] = []
    passed_over = PassedOver()
    with passed_over:
        try:
            process.receive(message)
        except BlockedError:
            raise
        except Exception as error:  # noqa: BLE001 -- a message of an unknown form is recorded as it is
            failed = unread(error, message, "")
    return [*failed, *passed_over.new_parts()]


TARGETS = (
    Target("claude_agent_sdk._internal.transport.subprocess_cli", "SubprocessCLITransport", "write", _write),
    Target("claude_agent_sdk._internal.query", "Query", "receive_messages", _receive),
    *claude_permissions.TARGETS,
)


def patch(module: ModuleType, patches: Patches) -> None:
    """Wraps the targets of a module of the SDK."""
    patches.apply(TARGETS, module)
