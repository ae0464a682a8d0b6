import os
import sys

import pytest

from keras_r3d.inference.models.runtimes import stderr


def test_only_what_is_said_inside_is_dropped(capfd):
    os.write(2, b"before ")
    with stderr.dropped():
        os.write(2, b"C++")
        print("Python", file=sys.stderr)
    with pytest.raises(ValueError, match="why"), stderr.dropped():
        raise ValueError("why")
    os.write(2, b"after")
    assert capfd.readouterr().err == "before after"
