"""Why a dialogue cannot be encoded: RejectedDialogue(code, message), with the codes that reports count by."""

from __future__ import annotations

# Every law that data_prep/proofs.py holds an encoded row to, and what it says; reports count rows by these names.
LAWS = {
    "prompt_as_inferred": "the ids before each trained turn are those that inference sends",
    "turns_exact": "a trained turn's ids read as the template writes that turn, up to the stop token, which is trained",
    "only_turns_trained": "each trained assistant turn is in one sample, once, and no other token has a kind",
    "parsed_back": "each trained turn, read from its ids by the parser that evaluation uses, is its message",
    "calls_parsed_back": "read so, its calls have the same names and JSON arguments (rows with trained calls)",
    "results_in_call_order": "results of parallel calls stand in the order of the calls (rows with parallel results)",
    "control_from_template": "the control tokens of a sample are those that the template writes, none comes from data",
    "labels_follow_kinds": "labels are the ids where train_on says so and a turn's stop token with them, else -100",
}

REASONS = {
    "control_token": "content, tool list or a result would become a control token of this tokenizer",
    "button_marker": "a part holds the marker that would close it in BUTTON's text",
    "calls_without_tools": "the dialogue calls functions but lists none",
    "template_raises": "the chat template raised an error on this dialogue",
    "template_drops_tools": "the chat template does not show the tool list",
    "template_drops_prompt": "the chat template does not show the system prompt or the user beside a tool list",
    "template_drops_call": "the chat template does not show a call as it is",
    "template_drops_thought": "the chat template does not show the thought beside a call",
    "template_drops_results": "the chat template does not show a tool result, or in another order",
    "no_call_parser": "no parser can be derived from how the chat template writes calls",
    "template_alters_text": "the chat template shows other text than was given",
    "turn_not_located": "the turn cannot be told from the text around it",
    "no_stop_token": "the template ends the turn with no control token",
    "not_parsed_back": "the rendered turn does not parse back to the same calls and text",
    "history_rewritten": "the template renders an earlier turn otherwise once others follow (history: error)",
    "no_trained_turn": "no assistant turn is trained",
    "unencodable_text": "the tokenizer has no tokens for some character of a trained turn",
    **{law: f"unproven: {says}" for law, says in LAWS.items()},
}


class RejectedDialogue(ValueError):
    """A dialogue that cannot be encoded exactly; `code` is a key of REASONS."""

    def __init__(self, code: str, message: str):
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.code, self.message)
