"""CNI_ARGS: which pairs are taken and which are refused."""

import pytest

from cni_plugin.cniargs import Pod, parse


def test_no_arguments_is_a_pod_without_names() -> None:
    """CNI_ARGS is optional; names are hashed from "." then."""
    assert parse("") == Pod("", "", "", "")


def test_the_four_facts_of_a_pod_are_taken() -> None:
    """As containerd passes them; values may hold anything but `;` and `=`."""
    pod = parse("K8S_POD_UID=u-1;K8S_POD_NAME=web 0;K8S_POD_NAMESPACE=ns;K8S_POD_INFRA_CONTAINER_ID=c")

    assert pod == Pod(name="web 0", namespace="ns", infra_container_id="c", uid="u-1")


@pytest.mark.parametrize("flag", ["1", "true", "TRUE", "True"])
@pytest.mark.parametrize("order", ["IgnoreUnknown={};ODD=1;K8S_POD_NAME=p", "ODD=1;K8S_POD_NAME=p;IgnoreUnknown={}"])
def test_unknown_keys_are_passed_over_on_demand(order: str, flag: str) -> None:
    """IgnoreUnknown counts wherever it stands."""
    assert parse(order.format(flag)) == Pod(name="p")


@pytest.mark.parametrize("args", ["ODD=1;k8s_pod_name=p", "IgnoreUnknown=0;ODD=1;k8s_pod_name=p"])
def test_unknown_keys_are_refused_otherwise(args: str) -> None:
    """Keys are matched to the letter, and all unknown pairs are named."""
    with pytest.raises(ValueError) as caught:
        parse(args)

    assert str(caught.value) == 'ARGS: unknown args ["ODD=1" "k8s_pod_name=p"]'


@pytest.mark.parametrize(
    "args, pair", [("A", "A"), ("K8S_POD_NAME=a=b", "K8S_POD_NAME=a=b"), ("K8S_POD_NAME=a;", ""), (";", "")]
)
def test_pair_without_exactly_one_equals_sign_is_refused(args: str, pair: str) -> None:
    """Even with IgnoreUnknown."""
    with pytest.raises(ValueError) as caught:
        parse(f"IgnoreUnknown=1;{args}")

    assert str(caught.value) == f'ARGS: invalid pair "{pair}"'


def test_ignore_unknown_must_be_a_boolean() -> None:
    """The pair is named."""
    with pytest.raises(ValueError, match='"IgnoreUnknown=maybe": want 1, true, 0 or false'):
        parse("IgnoreUnknown=maybe")


def test_last_of_a_repeated_key_wins() -> None:
    """Pairs are taken from left to right."""
    assert parse("K8S_POD_NAME=a;K8S_POD_NAME=b").name == "b"
