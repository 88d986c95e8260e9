"""The settings about moderation of content."""

from typing import Annotated, Literal

from cylestio_monitor.config.section import Section, setting


class ModerationSettings(Section, frozen=True, kw_only=True):
    """Moderators: services, models and functions that judge what is said."""

    use: Annotated[
        tuple[str, ...], setting("Moderators by the name of their entry point, such as `openai` or `onnx`.")
    ] = ()
    sides: Annotated[tuple[Literal["input", "output"], ...], setting("Sides of a call whose texts are moderated.")] = (
        "input",
        "output",
    )
    surfaces: Annotated[
        tuple[Literal["llm", "tool_result", "system", "memory"], ...], setting("Surfaces that are moderated.")
    ] = ("llm",)
    wait: Annotated[
        bool,
        setting("Calls wait for the answers, at most `budget_ms`: only then can one refuse a call.", local="greater"),
    ] = False
    required: Annotated[
        bool,
        setting(
            "With `wait`, a text about which no answer came in time counts as one that could not be scanned, which "
            "mode `block` refuses.",
            local="greater",
        ),
    ] = False
    budget_ms: Annotated[int, setting("Longest wait for the answers, in ms.", ge=1)] = 1000
    max_chars: Annotated[int, setting("Longest text that is moderated, in code points.", ge=256)] = 20_000
    url: Annotated[str, setting("Base URL of the service that the moderator `openai` asks; `https`, or loopback.")] = (
        "https://api.openai.com/v1"
    )
    key: Annotated[str, setting("Environment variable that holds the key of the service.")] = "OPENAI_API_KEY"
    service_model: Annotated[str, setting("Model that the service uses.")] = "omni-moderation-latest"
    model: Annotated[str | None, setting("Folder of the model that the moderator `onnx` loads.")] = None
    threshold: Annotated[
        float, setting("Lowest score of a label of the moderator `onnx` that is denied.", ge=0, le=1)
    ] = 0.8
