"""FastRPC, the road from the CPU to the DSP: why a DSP library does not load."""

from chipdrift.logs.grammar import Fact, Source, form

SOURCE = Source(
    name="fastrpc",
    title="FastRPC",
    tags=(b"adsprpc",),
    marks=(b"adsprpc/src/", b"fastrpc_apps_user", b"remote_handle"),
    forms=(
        form(
            Fact.ERROR,
            b"Error 0x",
            rb"(?P<text>Error 0x[0-9a-f]+: remote_\w+ failed .*\S)",
            "qualcomm/fastrpc issue 379, b1xian/mobilenet-ssd-snpe issue 6",
        ),
        form(
            Fact.WARNING,
            b":Warning: remote_handle",
            rb":\s*Warning: (?P<text>remote_handle\w*: .*\S)",
            "qualcomm/GenieX issue 954",
        ),
        form(
            Fact.ERROR,
            b"Can't open rpc lib",
            rb"(?P<text>Can't open rpc lib)",
            "mlcommons/mobile_results_v3.0, Qualcomm's text output",
        ),
        form(
            Fact.WARNING,
            b"apps_std_fopen",
            rb"Warning: (?P<text>apps_std_fopen\w* failed .*\S)",
            "b1xian/mobilenet-ssd-snpe issue 6",
        ),
    ),
    chatter=(
        b"rpcmem_init_internal: opened ",
        b"fastrpc_apps_user_init done ",
        b"open_mod_table_open_dynamic: ",
    ),
)
