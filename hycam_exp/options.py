"""A command's options as its command line gives them: key=value, as Hydra's overrides are."""

from collections.abc import Mapping, Sequence

from hycam_exp.method_settings import require


def key_values(arguments: Sequence[str], defaults: Mapping[str, str]) -> dict[str, str]:
    """The arguments over the defaults, whose keys are all that there are.

    Raises:
        ValueError: an argument is no key=value, or its key is unknown.
    """
    found = dict(defaults)
    for argument in arguments:
        key, separator, value = argument.partition("=")
        require(bool(separator) and key in defaults, "argument", argument, f"must be one of {'=, '.join(defaults)}=")
        found[key] = value
    return found
