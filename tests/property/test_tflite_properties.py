"""Any geometry of a convolution: XNNPACK's integers are onnxruntime's."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from qdq_models import X_SCALE, Qdq

from chipdrift.targets import litert, ort

SMALL = st.integers(1, 3)


@st.composite
def convolutions(draw: st.DrawFn) -> Qdq:
    groups, per_group = draw(SMALL), draw(SMALL)
    outputs = groups * draw(SMALL)
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    dilations = [draw(st.integers(1, 2)), draw(st.integers(1, 2))]
    pads = [draw(st.integers(0, 2)) for _ in range(4)]
    image = (draw(st.integers(4, 9)), draw(st.integers(4, 9)))
    for size, k, d, pad in zip(
        image, kernel, dilations, (pads[0] + pads[2], pads[1] + pads[3]), strict=True
    ):
        assume(size + pad >= (k - 1) * d + 1)
    attributes: dict[str, Any] = {
        "group": groups,
        "pads": pads,
        "dilations": dilations,
        "strides": [draw(SMALL), draw(SMALL)],
    }
    b = Qdq(draw(st.integers(0, 1000)), draw(st.sampled_from([np.uint8, np.int8])))
    limits = np.iinfo(b.dtype)
    zero = st.integers(int(limits.min), int(limits.max))
    x = b.input("x", (draw(st.integers(1, 2)), groups * per_group, *image), X_SCALE, draw(zero))
    shape = (outputs, per_group, *kernel)
    y = b.conv(x, X_SCALE, shape, "y", per_channel=draw(st.booleans()), **attributes)
    if draw(st.booleans()):
        y = b.add("Relu", [y], "act")
    b.output(y, 0.03 * (per_group * kernel[0] * kernel[1]) ** 0.5, draw(zero))
    return b


@settings(max_examples=80, deadline=None)
@given(convolutions())
def test_convolutions(model: Qdq) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = model.save(Path(folder))
        peer = ort.open_session(path, {"session.x64quantprecision": "1"})
        ours = litert.open_session(path, {"kernels": "xnnpack"})
        theirs = litert.open_session(path, {"kernels": "reference"})
    feed = model.feed()
    [expected], [found], [other] = peer.run(feed), ours.run(feed), theirs.run(feed)
    assert np.array_equal(found, expected)
    assert np.abs(other.astype(int) - expected).max() <= 1
