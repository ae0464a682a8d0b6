"""Jobs that end oddly, in a module that another process imports quickly."""

import os
import time

from keras_r3d.system.errors import VideoError, WriteError


def odd_job(ending):
    """Runs in another process."""
    if ending == "hang":
        time.sleep(600)
    if ending == "crash":
        os._exit(139)
    if ending == "broken":
        raise VideoError("v.avi: it is broken.")
    if ending == "full":
        raise WriteError("Could not write v.avi.")
    return ending * 2
