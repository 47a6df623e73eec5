"""Ctrl-C and skorch's way of asking for the end of training, which both arrive as KeyboardInterrupt."""

import dis

from skorch.callbacks import Callback


def is_raised_by_callback(error):
    """Tell whether a raise statement of a skorch callback is behind an exception.

    Ctrl-C may strike within a callback, too, but at any other instruction: so the bytecode of the innermost frame is
    looked at. A wrapper around callbacks could not tell the two apart.

    Parameters
    ----------
    error : BaseException
        An exception that was caught.

    Returns
    -------
    bool
        False of Ctrl-C.
    """
    origin = error.__traceback__
    while origin.tb_next is not None:
        origin = origin.tb_next
    frame = origin.tb_frame
    is_raised = dis.opname[frame.f_code.co_code[origin.tb_lasti]] == "RAISE_VARARGS"
    return is_raised and isinstance(frame.f_locals.get("self"), Callback)
