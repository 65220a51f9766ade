"""The sixty weaknesses of the two modules this one follows, each with what shows that it is closed.

B1 to B12 are of signatures and input, to B23 of sending, to B40 of mapping and records, to B51 of webhooks; the rest
were dead or broken. A name is a test's, `file::test`, or a case's path without its ending; a sentence says why a
weakness has no meaning here.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from engine.cases import read_cases
from engine.catalog import shipped

HERE = Path(__file__).parent
CASES = {str(case.file.relative_to(HERE / "cases"))[:-4]: case for case in read_cases(shipped() / "tests" / "cases")}
CALL, EVENT = "request_types/stripe", "webhook_processors/stripe"

CLOSED: dict[int, tuple[str, ...]] = {
    1: (
        "test_forms.py::test_no_change_of_a_token_is_accepted",
        "test_forms.py::test_no_part_of_a_token_can_be_exchanged",
    ),
    2: ("test_forms.py::test_values_that_join_to_one_text_are_sealed_apart",),
    3: (
        "test_forms.py::test_a_field_that_the_form_does_not_ask_for_sends_nothing",
        "test_forms.py::test_json_values_are_held_to_the_same_list",
        f"{CALL}/create_customer/unknown_name",
    ),
    4: ("test_forms.py::test_a_form_is_of_one_session_and_one_half_hour",),
    5: ("test_forms.py::test_the_seal_of_one_form_does_not_hold_for_another",),
    6: ("test_forms.py::test_no_path_leads_to_another_host", "test_web.py::test_no_field_says_where_to_go"),
    7: (
        "test_signatures.py::test_no_reason_shows_a_secret_or_a_right_signature",
        "test_redaction.py::test_the_log_holds_no_secret",
    ),
    8: (
        "test_signatures.py::test_no_change_of_one_bit_is_accepted",
        "test_seals.py::test_a_missing_or_weak_key_is_refused",
    ),
    9: ("test_web.py::test_what_is_no_form_is_answered_400", "test_web.py::test_a_foreign_page_cannot_post_a_form"),
    10: (
        "test_forms.py::test_the_shipped_forms_ask_for_no_card_customer_destination_or_amount",
        "test_forms.py::test_only_a_fresh_token_is_a_card",
    ),
    11: ("test_forms.py::test_what_the_browser_once_carried_is_refused_with_the_way_to_go",),
    12: ("test_forms.py::test_hostile_data_stays_text", "test_web.py::test_flashes_tell_success_from_error"),
    13: (
        "test_sending.py::test_what_is_sent_is_durable_before",
        "test_sending.py::test_an_operation_is_carried_out_once",
        "test_forms.py::test_fifty_posts_at_once_are_one_call",
    ),
    14: (
        "test_answers.py::test_a_first_attempt",
        f"{CALL}/create_payment/bad_gateway",
        f"{CALL}/create_payment/another_shape",
    ),
    15: (
        "test_properties.py::test_data_decodes_back",
        "test_properties.py::test_an_id_is_one_segment",
        f"{CALL}/delete_credit_card/question_mark",
    ),
    16: (f"{CALL}/create_payment/authorized", f"{CALL}/create_payment/capture_as_text"),
    17: ("test_properties.py::test_metadata_keys_stay_inside", f"{CALL}/create_customer/nested_metadata"),
    18: (f"{CALL}/get_payout/all_pages",),
    19: ("test_sending.py::test_a_list_is_read_to_its_end", f"{CALL}/get_persons/all_pages"),
    20: (
        "test_sending.py::test_how_often",
        "test_sending.py::test_between_attempts",
        "test_answers.py::test_retry_after",
    ),
    21: ("test_parity.py::test_one_version_is_pinned_for_all", f"{CALL}/create_payment/paid"),
    22: (f"{CALL}/create_account/custom", f"{CALL}/create_account/older_words"),
    23: (
        f"{CALL}/create_payment/amount_as_fraction",
        f"{CALL}/create_payment/amount_of_nothing",
        f"{CALL}/create_payment/currency_in_capitals",
    ),
    24: ("test_properties.py::test_a_mapper_carries_any_text", f"{CALL}/create_payment/hostile_texts"),
    25: (
        "test_sending.py::test_whatever_a_mapper_gets_wrong",
        "test_sending.py::test_a_store_that_refuses_the_records",
    ),
    26: (
        "test_cases.py::test_every_mapper_is_told",
        f"{CALL}/create_credit_card/added",
        f"{CALL}/get_persons/all_pages",
    ),
    27: (f"{CALL}/delete_credit_card/without_local_record", f"{CALL}/delete_account/unrecorded"),
    28: (f"{CALL}/create_transfer/paid",),
    29: (f"{CALL}/create_payment/paid",),
    30: (
        f"{CALL}/create_refund/pending",
        f"{CALL}/create_refund/in_part",
        f"{CALL}/create_refund/failed",
        f"{EVENT}/charge.refunded/in_part",
    ),
    31: (f"{CALL}/capture_payment/unknown_here",),
    32: (f"{CALL}/create_payment/declined", f"{EVENT}/charge.failed/declined"),
    33: ("test_parity.py::test_records_have_true_types", f"{CALL}/create_payment/paid"),
    34: ("test_parity.py::test_nothing_is_guessed_from_a_name",),
    35: (
        "test_sending.py::test_what_is_sent_is_durable_before",
        "test_sending.py::test_sealed_parts_are_never_in_the_clear",
        f"{CALL}/create_webhook_endpoint/our_own",
    ),
    36: (f"{CALL}/create_customer/with_card",),
    37: (f"{CALL}/create_customer/with_card", f"{CALL}/create_customer/without_card"),
    38: ("test_web.py::test_flashes_tell_success_from_error",),
    39: (
        "test_forms.py::test_a_button_names_the_amount_that_is_moved",
        "test_forms.py::test_messages_and_paths_are_the_pages",
    ),
    40: (
        "test_forms.py::test_a_second_gateways_form_is_one_file_of_its_own",
        "test_parity.py::test_the_core_knows_no_gateway",
    ),
    41: (
        "test_inbox.py::test_a_secret_that_is_an_open_door_stops_the_start",
        "test_inbox.py::test_a_missing_secret_is_told_when_it_is_needed",
        "test_inbox.py::test_two_endpoints_have_two_secrets",
    ),
    42: (
        "test_signatures.py::test_the_time_may_be_off_by_300_seconds_both_ways",
        "test_inbox.py::test_an_event_counts_once",
    ),
    43: (
        "test_signatures.py::test_any_active_secret_may_have_signed",
        "test_signatures.py::test_stripes_library_and_we_agree",
    ),
    44: ("test_inbox.py::test_bodies_are_kept_byte_for_byte", "test_web.py::test_an_event_may_look_like_a_form"),
    45: (
        "test_web.py::test_a_bad_signature_is_answered_400_and_nothing_is_stored",
        "test_web.py::test_without_a_secret_or_a_store_the_gateway_is_asked_to_come_again",
        "test_inbox.py::test_an_event_waits_for_its_record",
    ),
    46: ("test_inbox.py::test_what_is_put_aside", "test_inbox.py::test_a_test_event_in_live_mode"),
    47: ("test_inbox.py::test_secrets_that_were_registered", "test_inbox.py::test_secrets_are_rotated"),
    48: (f"{EVENT}/account.updated/asks", f"{EVENT}/account.updated/unknown_account"),
    49: ("test_inbox.py::test_an_events_name_is_only_looked_up",),
    50: (
        "test_event_orders.py::test_every_order_ends_the_same",
        "test_inbox.py::test_an_event_is_kept_before_it_is_processed",
        "test_inbox.py::test_an_event_is_given_up_at_last",
    ),
    51: (
        "test_cli_webhooks.py::test_an_endpoint_is_registered_once_however_often_it_is_asked",
        "test_cli_webhooks.py::test_endpoints_are_listed_and_removed",
    ),
    52: ("test_web.py::test_json_is_answered_in_json_with_a_true_status",),
    53: ("test_catalog.py::test_faults", "test_yaml_files.py::test_faults"),
    54: ("test_catalog.py::test_every_shipped_file_is_found",),
    55: ("test_templates.py::test_faults_of_documents", "test_templates.py::test_faults_of_leaves"),
    56: (
        "test_web.py::test_json_is_answered_in_json_with_a_true_status",
        "test_web.py::test_what_does_not_fit_is_answered_422_and_sent_nowhere",
    ),
    57: (f"{CALL}/get_account/more_wanted", "test_forms.py::test_the_account_form_says_what_the_gateway_thinks"),
    58: ("no meaning here: the misspelt words stood in texts and pages that were not taken over",),
    59: (
        "test_redaction.py::test_the_log_holds_no_secret",
        "test_forms.py::test_what_is_refused_is_not_written_into_the_log",
    ),
    60: (
        "test_readme.py::test_the_example_request_type_is_good",
        "test_readme.py::test_every_key_of_a_file_is_explained",
    ),
}


def test_every_weakness_is_listed() -> None:
    """All sixty are there."""
    assert list(CLOSED) == list(range(1, 61))


@pytest.mark.parametrize("number", CLOSED)
def test_what_closes_it_is_there(number: int) -> None:
    """Each weakness is closed by tests and cases that exist, or has no meaning here for a reason."""
    assert CLOSED[number]
    for name in CLOSED[number]:
        if name.startswith("no meaning here: "):
            assert len(CLOSED[number]) == 1
        elif "::" in name:
            file, _, test = name.partition("::")
            assert test in {
                one.name for one in ast.walk(ast.parse((HERE / file).read_text())) if isinstance(one, ast.FunctionDef)
            }
        else:
            assert name in CASES


def test_claims_name_weaknesses() -> None:
    """A case whose claim ends with "(Bn)" names one of the sixty."""
    for case in CASES.values():
        for number in re.findall(r"\bB(\d+)\b", case.told["claim"]):
            assert int(number) in CLOSED, case.file


# What no other test shows ---------------------------------------------------------------------------------------------


def _texts(*folders: str) -> dict[str, str]:
    paths = [path for folder in folders for path in (shipped() / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(shipped())): path.read_text("utf-8") for path in paths if path.suffix != ".pyc"}


def test_one_version_is_pinned_for_all() -> None:
    """Stripe's version is named once, in the gateway's file, and so goes along with every request (B21)."""
    naming = [
        name for name, text in _texts("request_types").items() if re.search(r"^\s*Stripe-Version:", text, re.MULTILINE)
    ]
    assert naming == ["request_types/stripe/_gateway.yml"]


def test_records_have_true_types() -> None:
    """Amounts are whole numbers, flags are truths, and times are told by their names in every record type (B33)."""
    from engine.reloading import Files

    for type in Files(None, {}, reload=False).catalog().record_types.values():
        for name, schema in type.properties.items():
            if name.endswith(("_cents", "_month", "_year")):
                assert schema["type"] == "integer", (type.name, name)
            if name.endswith("_enabled") or name in {"livemode", "automatic", "details_submitted", "owner"}:
                assert schema["type"] == "boolean", (type.name, name)
            if name.endswith("_at"):
                assert schema.get("format") == "date-time", (type.name, name)


def test_nothing_is_guessed_from_a_name() -> None:
    """A request type is not what it is called: no part of the engine looks into its name (B34)."""
    for name, text in _texts("engine").items():
        if name.endswith(".py"):
            assert not re.search(r"""["'](create|delete|update)_?["'] in|contains.*delete""", text), name


def test_the_core_knows_no_gateway() -> None:
    """Outside the shipped files a gateway is named in the list of webhook schemes and in examples only (B40)."""
    for name, text in _texts("engine").items():
        if not name.endswith(".py") or name.startswith(("engine/cli/", "engine/_shipped/")):
            continue
        tree = ast.parse(text)
        told = {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in told:
                allowed = name == "engine/signatures.py"
                assert allowed or "stripe" not in node.value.lower(), (name, node.value)
