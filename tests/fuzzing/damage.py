"""Inputs for tests: valid ones with damage, as hypothesis strategies."""

from hypothesis import strategies as st

TOKENS = [
    b"",
    b"\0",
    b"\xff",
    b"\n",
    b"[",
    b"]",
    b"{",
    b"}",
    b'"',
    b"-1",
    b"0",
    b"1e999",
    b"9" * 30,
    b"null",
    b"\xff\xff\xff\xff",
]
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def damaged(draw, originals, max_edits=6):
    """One of the originals (bytes) with up to this many parts replaced, removed, repeated or inserted."""
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(0, max_edits))):
        at = draw(st.integers(0, len(content)))
        length = draw(st.integers(0, 20))
        part = draw(st.sampled_from(TOKENS) | st.binary(max_size=8) | st.just(bytes(content[at : at + length]) * 3))
        content[at : at + draw(st.integers(0, length))] = part
    if draw(st.booleans()):
        del content[draw(st.integers(0, len(content))) :]
    return bytes(content)


@st.composite
def damaged_json(draw, records):
    """One of the records (dictionaries) with some values replaced by others of any type, removed or added."""
    record = dict(draw(st.sampled_from(records)))
    for _ in range(draw(st.integers(1, 4))):
        key = draw(st.sampled_from([*record, "extra"]))
        if draw(st.booleans()):
            record.pop(key, None)
        else:
            value = draw(JSON_VALUES | st.sampled_from([value for one in records for value in one.values()]))
            record[key] = value
        if not record:
            break
    return record
