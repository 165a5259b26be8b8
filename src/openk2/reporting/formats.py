"""Numbers as people read them, the same on the page, in the summary and in the progress line."""

__all__ = ["compact", "duration", "number", "share"]


def number(value: float | None, digits: int = 3) -> str:
    """`value` with `digits` decimals and thousands separators; a dash where there is none."""
    return "-" if value is None else f"{value:,.{digits}f}"


def compact(value: float | None, digits: int = 3) -> str:
    """`value` to `digits` significant digits with k, M, B or T: 12345 is 12.3k, 0.002 is 2e-3."""
    if value is None:
        return "-"
    if value != 0 and abs(value) < 1e-2:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa}e{int(exponent)}"
    for size, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        # 999.96k rounds to 1000k, which is 1M.
        if abs(float(f"{value:.{digits}g}")) >= size:
            return f"{value / size:.{digits}g}{suffix}"
    return f"{value:.{digits}g}"


def duration(seconds: float | None) -> str:
    """Seconds as `45 s`, `3 min 20 s` or `2 h 05 min`."""
    if seconds is None:
        return "-"
    if seconds < 59.5:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def share(value: float, reference: float) -> str:
    """How far `value` lies from `reference`: `12.5 % below` or `3.0 % above`."""
    side = "below" if value < reference else "above"
    return f"{abs(1 - value / reference) * 100:.1f} % {side}"
