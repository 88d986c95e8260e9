"""Provenance of argument values: who said a value first, and in which shape.

`Conversation.add` takes each new message part of a session; `Conversation.trace` takes the arguments of a tool call and
returns one `Origin` for each value that only an untrusted source has said.
"""

from cylestio_monitor.govern.provenance.conversation import Conversation, OpenConversations, Origin

__all__ = ["Conversation", "OpenConversations", "Origin"]
