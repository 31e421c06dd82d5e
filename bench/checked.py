"""TOML files checked by a committed schema: the first thing wrong is said with file, key and what was expected."""

import json
import tomllib
from functools import cache
from pathlib import Path

import jsonschema

from bench import paths
from bench.errors import UsageError
from bench.units import nearest


@cache
def schema(name: str) -> dict:
    return json.loads((paths.SCHEMAS / f"{name}.schema.json").read_text())


def read(path: Path, what: str) -> dict:
    """A TOML file that fits the schema called `what`."""
    name = paths.shown(path)
    try:
        data = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise UsageError(f"{name}: no such {what} file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{name}: not valid TOML: {error}") from None
    except OSError as error:
        raise UsageError(f"{name}: cannot be read: {error.strerror}") from None
    complain(data, schema(what), name)
    return data


def complain(data: dict, rules: dict, where: str) -> None:
    """Raises a UsageError for the outermost violation, in words: where, which key, what was expected."""
    errors = sorted(
        jsonschema.Draft202012Validator(rules).iter_errors(data), key=lambda e: (len(e.path), [str(p) for p in e.path])
    )
    if not errors:
        return
    error = errors[0]
    key = ".".join(str(part) for part in error.absolute_path)
    at = f"{where}: {key}: " if key else f"{where}: "
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        wrong = next(name for name in error.instance if name not in known)
        raise UsageError(f"{at}unknown key {wrong!r}{nearest(wrong, known)}")
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        described = error.schema["properties"][missing]
        expected = described.get("description") or rules["$defs"][described["$ref"].rsplit("/", 1)[1]]["description"]
        raise UsageError(f"{at}missing key {missing!r}: expected {expected}")
    expected = error.schema.get("description", error.message)
    raise UsageError(f"{at}expected {expected}, got {json.dumps(error.instance)}{near_choice(error)}")


def near_choice(error: jsonschema.ValidationError) -> str:
    """The choice that a mistyped word was near to, where there is one."""
    if error.validator != "enum" or not isinstance(error.instance, str):
        return ""
    near = nearest(error.instance, map(str, error.validator_value))
    return near if "did you mean" in near else ""
