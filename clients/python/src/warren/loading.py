"""Finds the methods and behaviours in files and modules, and what version of them this is."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from warren_client.message import check_name

from . import connserver
from .behaviours import Behaviour, behaviours_of
from .methods import Method, methods_of

_HASH_DIGITS = 12
_VERSION = re.compile(r"[A-Za-z0-9_.+-]{1,64}", re.ASCII)


class LoadError(Exception):
    """A plugin cannot be loaded, or has nothing to do. Its cause is what the plugin raised."""


@dataclass(frozen=True)
class Plugin:
    """A module with methods, behaviours or both."""

    name: str
    version: str
    """What the module says in ``__version__``, else the first digits of the file's SHA-256."""
    methods: Sequence[Method]
    behaviours: Sequence[Behaviour]

    @property
    def parts(self) -> Sequence[Method | Behaviour]:
        return [*self.methods, *self.behaviours]

    @property
    def label(self) -> str:
        return f"{self.name}@{self.version}"


def load(source: str) -> Plugin:
    """Imports a file (``game.py``) or a module (``game.combat``), and checks it.

    A module that has a function ``self_check`` is asked by that: what it raises is why it is not taken.
    Raises ``LoadError``.
    """
    _offer_connserver()
    try:
        module = _import(source)
        methods = connserver.methods_of(module) or methods_of(module)
        behaviours = behaviours_of(module)
        name = check_name(module.__name__.rpartition(".")[2])
        check = getattr(module, "self_check", None)
        if check is not None:
            check()
    except (Exception, SystemExit) as error:
        raise LoadError(f"{source}: {type(error).__name__}: {error}") from error
    if not methods and not behaviours:
        wanted = "no @warren.method in it, no @warren.behaviour, and no ConnServer module"
        raise LoadError(f"{source}: there is {wanted}")
    version = _version(module)
    if not _VERSION.fullmatch(version):
        raise LoadError(f"{source}: {version!r} is no version: letters, digits and _ . + -, at most 64")
    return Plugin(name, version, methods, behaviours)


def load_all(sources: Sequence[str]) -> list[Plugin]:
    """Raises ``LoadError``, also where two of them have a method or a behaviour of one name."""
    plugins = [load(source) for source in sources]
    owners: dict[tuple[type, str], Plugin] = {}
    for plugin in plugins:
        for each in plugin.parts:
            owner = owners.setdefault((type(each), each.name), plugin)
            if owner is not plugin:
                raise LoadError(f"{each.name} is in {owner.name} and in {plugin.name}")
    return plugins


def _import(source: str) -> ModuleType:
    path = Path(source)
    if path.suffix != ".py":
        # As for `python3 -m`.
        if "" not in sys.path:
            sys.path.insert(0, "")
        return importlib.import_module(source)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    # What stands beside it can be imported, as for `python3 game.py`.
    folder = str(path.parent.resolve())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    if path.stem in sys.modules:
        raise ImportError(f"there is a module {path.stem} already: rename the file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _version(module: ModuleType) -> str:
    version = getattr(module, "__version__", None)
    if version is not None:
        return str(version)
    file = getattr(module, "__file__", None)
    content = Path(file).read_bytes() if file else b""
    return hashlib.sha256(content).hexdigest()[:_HASH_DIGITS]


def _offer_connserver() -> None:
    """ConnServer modules may say ``import cs``."""
    if "cs" not in sys.modules and importlib.util.find_spec("cs") is None:
        sys.modules["cs"] = connserver
