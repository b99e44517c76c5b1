"""Waiting for what another thread or process does."""

import ast
import inspect
import time
from pathlib import Path

PATIENT_S = 120.0
"""How long to wait for something that always happens. It limits broken code, not slow machines, and is shorter than
the limit on a whole test (`timeout` in pyproject.toml), so that the wait that failed is the one that reports."""
_LONGEST_STEP_S = 1.0
"""Of one call, no more than this counts: while this process was not running, the others were probably not either."""


def until(happened, do=lambda: time.sleep(0.01)):
    """Calls `do()` until `happened()` is true."""
    waited_s = 0.0
    while True:
        began = time.monotonic()
        if happened():
            return
        assert waited_s < PATIENT_S, f"did not happen within {PATIENT_S:g} s{_last_seen(happened)}"
        do()
        waited_s += min(time.monotonic() - began, _LONGEST_STEP_S)


def _last_seen(happened):
    """The values of what a lambda compares or combines, one a line."""
    code = getattr(happened, "__code__", None)
    if code is None or code.co_name != "<lambda>":
        return ""
    names = {**happened.__globals__, **inspect.getclosurevars(happened).nonlocals}
    defaults = happened.__defaults__ or ()
    names.update(zip(code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount], defaults))
    source = Path(code.co_filename).read_text(encoding="utf-8")
    nodes = ast.walk(ast.parse(source))
    bodies = [node.body for node in nodes if isinstance(node, ast.Lambda) and node.lineno == code.co_firstlineno]
    parts = [part for body in bodies[:1] for part in _parts(body)]
    return "".join(f"\n  {ast.get_source_segment(source, part)}: {_value(part, names)}" for part in parts)


def _parts(node):
    if isinstance(node, ast.BoolOp):
        return [part for value in node.values for part in _parts(value)]
    if isinstance(node, ast.UnaryOp):
        return _parts(node.operand)
    if isinstance(node, ast.Compare):
        return [side for side in (node.left, *node.comparators) if not isinstance(side, ast.Constant)]
    return [node]


def _value(node, names):
    try:
        value = repr(eval(compile(ast.Expression(node), "<last seen>", "eval"), names))
    except Exception as error:  # noqa: BLE001 - it may be the reason for which nothing happened
        value = f"raised {error!r}"
    return value if len(value) <= 2000 else f"...{value[-2000:]}"
