"""Random JSON values, few enough that equal ones are common."""

from __future__ import annotations

from hypothesis import strategies as st

NAMES = st.sampled_from(["a", "b", "0", "1"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(
        [-1, 0, 1, 2, 1.0, 0.5, -0.0, 1 << 53, (1 << 53) + 1, float(1 << 53), (1 << 63) - 1, (1 << 64) - 1]
    ),
    st.sampled_from(["", "a", "ab", "b", "a\0", "é", "\U0001f600", "\uffff"]),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=3)
