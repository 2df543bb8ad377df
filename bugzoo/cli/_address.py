"""FILE.py::NAME: an object in a file of the user's."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

from bugzoo.errors import UserError, did_you_mean


def named(address: str, what: str) -> Any:
    """The object at 'file.py::name'; the file is run once, its folder importable meanwhile."""
    file, mark, name = address.partition("::")
    if not mark or not name:
        raise UserError(f"{what} '{address}': expected FILE.py::NAME")
    path = Path(file)
    if not path.is_file():
        raise UserError(f"{what} '{address}': there is no file {path}")
    if path.suffix != ".py":
        raise UserError(f"{what} '{address}': {path} is no Python file; expected FILE.py::NAME")
    module_name = f"bugzoo_user_{path.stem}"
    module = sys.modules.get(module_name)
    if module is None or getattr(module, "__file__", None) != str(path.resolve()):
        spec = importlib.util.spec_from_file_location(module_name, path.resolve())
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        sys.path.insert(0, str(path.resolve().parent))
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise UserError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
        finally:
            sys.path.pop(0)
    thing: Any = module
    for part in name.split("."):
        if not hasattr(thing, part):
            near = did_you_mean(part, [n for n in vars(thing) if not n.startswith("_")])
            raise UserError(f"{path} holds no '{part}'.{near}")
        thing = getattr(thing, part)
    return thing
