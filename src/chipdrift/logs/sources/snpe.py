"""Qualcomm's SNPE: runtime, cache records with chip and VTCM, build errors by layer."""

from chipdrift.logs.grammar import Fact, Source, form

_QIDK = "qualcomm/qidk issue 49"
_MLPERF = "mlcommons/mobile_results_v3.0, Qualcomm's text output"

SOURCE = Source(
    name="snpe",
    title="SNPE",
    tags=(b"SNPE-DebugLog", b"SNPE"),
    marks=(b"[USER_INFO:", b"[USER_WARN", b"[USER_ERR", b"SNPE ", b"snpe_"),
    forms=(
        form(
            Fact.CHIP,
            b"Target device backend record identifier: ",
            rb"record identifier: HTP_V(?P<arch>\d+)_(?P<soc>\w+?)_(?P<vtcm_mb>\d+)MB",
            _QIDK,
        ),
        form(
            Fact.WARNING,
            b"No cache record in the DLC matches",
            rb"(?P<text>No cache record in the DLC matches the target device .*\S)",
            _QIDK,
        ),
        form(
            Fact.REFUSED,
            b"failed for layer: ",
            rb"error_message= ?\w+\(\) failed for layer: (?P<node>[^;]+); (?P<reason>.*?)"
            rb"(?:; error_component=\w+.*)?$",
            "gesanqiu/Chinese_MobileBert_on_SNPE issue 1",
            by="SNPE",
        ),
        form(
            Fact.REFUSED,
            b"Unsupported layer ",
            rb"(?P<reason>Unsupported layer) (?P<node>\S+)",
            "hisrg/SNPE issue 1",
            by="SNPE",
        ),
        form(
            Fact.OPTION,
            b"SNPEBuilder Runtime - ",
            rb"(?P<name>SNPEBuilder) (?P<value>Runtime - .*\S)",
            _QIDK,
        ),
        form(
            Fact.OPTION,
            b"SNPE isRuntimeAvailable ",
            rb"(?P<name>SNPE isRuntimeAvailable) (?P<value>.*\S)",
            _QIDK,
        ),
        form(
            Fact.VERSION,
            b"snpe_version: ",
            rb"snpe_version: (?P<version>\S+)",
            _MLPERF,
            what="SNPE",
        ),
        form(
            Fact.OPTION,
            b" aip ",
            rb"(?P<name>Using) (?P<value>\d+ dsp \d+ aip \d+ gpu and \d+ cpu)",
            _MLPERF,
        ),
        form(
            Fact.ERROR,
            b"SNPE build failed",
            rb"(?P<text>SNPE build failed: .*\S)",
            "gesanqiu/Chinese_MobileBert_on_SNPE issue 1",
            stops="session",
        ),
        form(
            Fact.ERROR,
            b"is NOT supported for runtime ",
            rb"(?P<text>SNPE is NOT supported for runtime \w+ on the device)",
            "fdchiu/SNPECam issue 7",
        ),
        form(
            Fact.ERROR,
            b"PF_VALIDATOR: ERROR: ",
            rb"(?P<text>PF_VALIDATOR: ERROR: .*\S)",
            "fdchiu/SNPECam issue 7",
        ),
        form(
            Fact.ERROR,
            b"[USER_ERR",
            rb"\[USER_ERR\w*:\w+\]\s*(?P<text>.*\S)",
            f"as USER_WARN of {_QIDK}",
        ),
        form(
            Fact.WARNING,
            b"[USER_WARN",
            rb"\[USER_WARN\w*:\w+\]\s*(?P<text>.*\S)",
            _QIDK,
        ),
    ),
    chatter=(
        b"SNPE build completed successfully",
        b"[USER_INFO:SNPE] Logging initialized",
        b"is available on this platform",
        b"PF_VALIDATOR: DEBUG: ",
    ),
)
