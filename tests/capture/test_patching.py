"""Replaced attributes, and callbacks at imports, reloads and imports after a purge."""

from __future__ import annotations

import importlib
import sys
import types

import pytest

from cylestio_monitor.capture import import_hooks
from cylestio_monitor.capture.patching import Patches, Target


def wrapping(original):
    def wrapper(*args, **kwargs):
        return ("wrapped", original(*args, **kwargs))

    return wrapper


def module_with(name, monkeypatch, **attributes):
    module = types.ModuleType(name)
    vars(module).update(attributes)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def double(number):
    return 2 * number


def test_a_function_that_several_modules_export_is_wrapped_once_and_restored_everywhere(monkeypatch):
    patches = Patches()
    inner, outer = module_with("inner_x", monkeypatch, f=double), module_with("outer_x", monkeypatch, f=double)
    for owner in (inner, outer):
        patches.wrap(owner, "f", wrapping)
    assert inner.f is outer.f
    assert outer.f(2) == ("wrapped", 4)
    patches.wrap(outer, "f", wrapping)
    assert outer.f(2) == ("wrapped", 4), "not wrapped again"
    patches.restore()
    assert inner.f is double
    assert outer.f is double


@pytest.mark.parametrize("late", [True, False])
def test_a_function_imported_by_name_before_the_hook_is_replaced_there_too(monkeypatch, late):
    sdk = module_with("sdk_x", monkeypatch, f=double)
    application = module_with("application_x", monkeypatch, ask=double, other=3)
    patches = Patches()
    patches.is_late = late
    patches.apply([Target("sdk_x", "", "f", wrapping, is_imported_by_name=True)], sdk)
    assert sdk.f(1) == ("wrapped", 2)
    assert application.ask(1) == (("wrapped", 2) if late else 2)
    patches.restore()
    assert application.ask is double


def test_a_target_that_is_missing_is_an_error_unless_it_is_optional(monkeypatch):
    class Client:
        ask = double

    sdk = module_with("sdk_x", monkeypatch, Client=Client)
    patches = Patches()
    patches.apply([Target("sdk_x", "Client", "tell", wrapping, optional=True)], sdk)
    patches.apply([Target("sdk_x", "Server", "tell", wrapping, optional=True)], sdk)
    patches.apply([Target("sdk_x", "Client", "tell", wrapping, applies=lambda: False)], sdk)
    with pytest.raises(AttributeError, match="Client defines no tell"):
        patches.apply([Target("sdk_x", "Client", "tell", wrapping)], sdk)
    with pytest.raises(AttributeError, match="sdk_x defines no Server"):
        patches.apply([Target("sdk_x", "Server", "tell", wrapping)], sdk)


def test_what_another_library_has_wrapped_since_is_not_restored_and_the_rest_is(monkeypatch):
    sdk = module_with("sdk_x", monkeypatch, f=double, g=len)
    patches, undone = Patches(), []
    patches.wrap(sdk, "f", wrapping)
    patches.wrap(sdk, "g", wrapping)
    patches.on_restore(lambda: undone.append(1))
    theirs = sdk.f = wrapping(sdk.f)
    patches.restore()
    assert sdk.f is theirs
    assert sdk.g is len
    assert undone == [1]


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "hooked_x.py").write_text("class Client:\n    pass\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("hooked_x", None)
    import_hooks._callbacks.pop("hooked_x", None)


def test_a_module_calls_back_at_its_import_a_reload_and_an_import_after_a_purge(package):
    seen = []
    import_hooks.register("hooked_x", lambda module: seen.append(module.Client))
    module = importlib.import_module("hooked_x")
    assert seen == [module.Client]
    assert type(module.__loader__).__name__ == "SourceFileLoader"
    assert type(module.__spec__.loader).__name__ == "SourceFileLoader"
    importlib.reload(module)
    assert len(seen) == 2
    assert seen[1] is module.Client
    del sys.modules["hooked_x"]
    again = importlib.import_module("hooked_x")
    assert again is not module
    assert seen[2] is again.Client


def test_a_module_that_fails_to_import_calls_nothing_and_raises_its_own_error(package):
    (package / "hooked_x.py").write_text("raise OSError('no such device')\n", "utf-8")
    import_hooks.register("hooked_x", lambda _: pytest.fail("called"))
    with pytest.raises(OSError, match="no such device"):
        importlib.import_module("hooked_x")
    import_hooks.register("hooked_absent_x", lambda _: pytest.fail("called"))
    with pytest.raises(ModuleNotFoundError, match="hooked_absent_x"):
        importlib.import_module("hooked_absent_x")
    import_hooks._callbacks.pop("hooked_absent_x")


def test_a_loader_of_a_registered_module_is_still_what_it_was(package):
    import_hooks.register("hooked_x", lambda _: None)
    spec = importlib.util.find_spec("hooked_x")
    assert isinstance(spec.loader, importlib.machinery.SourceFileLoader)
    assert "class Client" in spec.loader.get_source("hooked_x")
    assert spec.origin == str(package / "hooked_x.py")
