"""Texts are read as Go's strconv and net read them (spec section 0.1, ENV-25, ENV-38, ENV-42)."""

import pytest

from ipamd.config import parse


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_the_true_forms_are_gos(text: str) -> None:
    """`strconv.ParseBool` knows six true forms."""
    assert parse.boolean(text) is True


@pytest.mark.parametrize("text", ["0", "f", "F", "FALSE", "false", "False"])
def test_the_false_forms_are_gos(text: str) -> None:
    """`strconv.ParseBool` knows six false forms."""
    assert parse.boolean(text) is False


@pytest.mark.parametrize("text", ["", "yes", "on", "tRUE", " true", "2"])
def test_other_words_are_no_booleans(text: str) -> None:
    """What YAML or Python would take for a boolean, Go does not."""
    with pytest.raises(parse.Invalid, match="true or false"):
        parse.boolean(text)


@pytest.mark.parametrize(
    "text, value", [("5", 5), ("+5", 5), ("-5", -5), ("007", 7), ("9223372036854775807", 2**63 - 1)]
)
def test_atoi_takes_a_sign_and_digits(text: str, value: int) -> None:
    """`strconv.Atoi`: leading zeros are decimal, 64 bits are the limit."""
    assert parse.atoi(text) == value


@pytest.mark.parametrize(
    "text", ["", " 5", "5 ", "1_000", "0x10", "5.0", "٣", "9223372036854775808", "1" * 5000, "--1"]
)
def test_atoi_refuses_what_python_would_take(text: str) -> None:
    """Blanks, underscores, other digits and numbers beyond 64 bits are invalid, however long the text is."""
    with pytest.raises(parse.Invalid):
        parse.atoi(text)


@pytest.mark.spec("ENV-42")
@pytest.mark.parametrize(
    "text, value",
    [
        ("128", 128),
        ("0x80", 128),
        ("0X_80", 128),
        ("0o200", 128),
        ("0200", 128),
        ("0b1000_0000", 128),
        ("4294967295", 2**32 - 1),
    ],
)
def test_connmark_takes_base_prefixes(text: str, value: int) -> None:
    """Base 0 of `strconv.ParseInt`."""
    assert parse.connmark(text) == value


@pytest.mark.spec("ENV-42")
@pytest.mark.parametrize("text", ["0", "-1", "4294967296", "0x", "08", "mark", ""])
def test_connmark_stays_within_32_bits(text: str) -> None:
    """1..2^32-1."""
    with pytest.raises(parse.Invalid, match="4294967295"):
        parse.connmark(text)


@pytest.mark.spec("ENV-38")
def test_cidrs_are_trimmed_and_put_into_network_form() -> None:
    """Host bits go, order stays."""
    assert parse.cidrs(" 10.12.3.4/16 ,10.0.0.0/8") == ("10.12.0.0/16", "10.0.0.0/8")
    assert parse.cidrs("") == ()


@pytest.mark.spec("ENV-38", "ENV-39")
@pytest.mark.parametrize(
    "entry", ["10.0.0.0", "10.0.0.0/33", "2001:db8::/32", "10.0.0.0/255.0.0.0", "010.0.0.0/8", "x/8", ""]
)
def test_a_bad_cidr_is_left_out_and_the_others_stay(entry: str) -> None:
    """Bad and IPv6 entries are skipped."""
    with pytest.raises(parse.Partly) as caught:
        parse.cidrs(f"10.1.0.0/16,{entry}")

    assert caught.value.value == ("10.1.0.0/16",)
    assert caught.value.instead.startswith("leaving out")


@pytest.mark.spec("ENV-25", "TV-76")
def test_additional_tags_are_an_object_of_strings() -> None:
    """Null is the empty string as in Go, a later duplicate key wins."""
    assert parse.eni_tags('{"team":"net","team":"cni","empty":null}') == {"team": "cni", "empty": ""}
    assert parse.eni_tags("null") == {}


@pytest.mark.spec("TV-76")
@pytest.mark.parametrize("text", ["{", "[]", '"x"', '{"n":1}', '{"n":{}}', "[" * 100_000])
def test_other_json_is_no_tags(text: str) -> None:
    """Invalid JSON gives no tags; neither does JSON of another shape."""
    with pytest.raises(parse.Invalid, match="JSON object"):
        parse.eni_tags(text)


@pytest.mark.spec("TV-76")
def test_tag_keys_of_kubernetes_are_dropped() -> None:
    """`bla.k8s.amazonaws.com` goes, the others stay."""
    with pytest.raises(parse.Partly) as caught:
        parse.eni_tags('{"bla.k8s.amazonaws.com":"x","mine":"y"}')

    assert caught.value.value == {"mine": "y"}
