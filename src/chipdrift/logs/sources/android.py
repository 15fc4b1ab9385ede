"""What a phone says of itself: ``ro.soc.model`` and the kernel's number of the SoC."""

from chipdrift.logs.grammar import Fact, Source, form

SOURCE = Source(
    name="android",
    title="Android's properties",
    forms=(
        form(
            Fact.CHIP,
            b"ro.soc.model",
            rb"\bro\.soc\.model\]?\s*[:=]\s*\[?(?P<ro_soc_model>[\w-]+)\]?",
            "getprop of an Android phone",
        ),
        form(
            Fact.CHIP,
            b"Soc ID: ",
            rb"soc_utility\.cc:\d+\] Soc ID: (?P<soc_id>\d+)",
            "mlcommons/mobile_results_v3.0, Qualcomm's text output",
        ),
    ),
)
