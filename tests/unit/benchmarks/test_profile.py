from benchmarks.profile import shares

RUN = "run (/src/gateway/app.py:1)"
HANDLE = "handle (/src/gateway/handler.py:{})"
LIBRARY = "recv (/lib/paho/mqtt/client.py:7)"


def test_a_function_is_charged_with_what_it_calls_and_alone_without() -> None:
    inclusive, alone = shares(
        [
            f"{RUN};{HANDLE.format(3)};{LIBRARY} 5",
            f"{RUN};{HANDLE.format(4)} 2",
        ]
    )
    assert inclusive == {"gateway/handler.py handle": 7}
    assert alone == {"mqtt/client.py recv": 5, "gateway/handler.py handle": 2}


def test_a_function_that_calls_itself_is_charged_once() -> None:
    inclusive, _ = shares([f"{HANDLE.format(3)};{HANDLE.format(4)} 5"])
    assert inclusive == {"gateway/handler.py handle": 5}
