"""The bookkeeping of a beam search by the reference's own functions."""

import torch


def beam_steps(model):
    """The reference's bookkeeping of one row's beams, step by step, from random candidates."""
    generator = torch.Generator().manual_seed(3)
    out = []
    for early_stopping, length_penalty in ((False, 1.0), (False, 2.5), (False, -1.0), (True, 1.0), ("never", 1.0), ("never", -0.5)):
        for beams in (2, 3):
            keep, longest = 2 * beams, 9
            fixed = {"num_beams": beams, "cur_len": 0, "decoder_prompt_len": 0, "length_penalty": length_penalty,
                     "early_stopping": early_stopping}  # fmt: skip
            top = torch.arange(keep) < beams
            state = {"sequences": torch.zeros((1, beams, 1), dtype=torch.long), "beam_scores": torch.full((1, beams), -1e9),
                     "beam_indices": torch.zeros((1, beams, 1), dtype=torch.int32),
                     "is_sent_finished": torch.zeros((1, beams), dtype=torch.bool)}  # fmt: skip
            open_, steps = torch.ones((1, 1), dtype=torch.bool), []
            for length in range(longest):
                scores = -(torch.rand((1, keep), generator=generator) + 0.45 * (length + 1)).sort(descending=False)[0]
                stops = torch.rand((1, keep), generator=generator) < 0.3
                candidates = (length * keep + torch.arange(keep)).reshape(1, keep, 1)
                running, running_scores, _ = model._get_running_beams_for_next_iteration(
                    scores, candidates, candidates.int(), stops, beams
                )
                names = ("sequences", "beam_scores", "beam_indices", "is_sent_finished")
                updated = model._update_finished_beams(
                    **state, topk_running_sequences=candidates, topk_log_probs=scores.clone(), topk_running_beam_indices=candidates.int(),
                    is_early_stop_heuristic_unsatisfied=open_, next_token_hits_stopping_criteria=stops, top_num_beam_mask=top,
                    **(fixed | {"cur_len": length}),
                )  # fmt: skip
                state = dict(zip(names, updated))
                open_ = model._check_early_stop_heuristic(
                    open_, running_scores, state["beam_scores"], state["is_sent_finished"], length + 1, longest, 0, early_stopping,
                    length_penalty,
                )  # fmt: skip
                steps.append({
                    "scores": scores[0].tolist(), "stops": stops[0].tolist(), "running": running[0, :, 0].tolist(),
                    "running_scores": running_scores[0].tolist(), "kept": state["sequences"][0, :, 0].tolist(),
                    "kept_scores": state["beam_scores"][0].tolist(), "finished": state["is_sent_finished"][0].tolist(),
                    "improvable": bool(open_),
                })  # fmt: skip
            out.append({"num_beams": beams, "early_stopping": early_stopping, "length_penalty": length_penalty,
                        "maxLength": longest, "steps": steps})  # fmt: skip
    return out
