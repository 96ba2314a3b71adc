"""Claims C8 to C12, Sec. 4: structured inputs, and teachers that were trained on images."""

from __future__ import annotations

import math
from dataclasses import replace

from hmm_utils.claims.independent_students import (
    LONGER_RULE,
    RATIO,
    RATIO_WHY,
    SMALL_RULE,
    SMALL_WHY,
    disagreement_grows_with_width,
    relative_disagreement,
    students_recover_teacher,
)
from hmm_utils.claims.logic import above, all_of, between, negate
from hmm_utils.claims.measuring import disagreement, mean_over_widths, widths_of
from hmm_utils.claims.plateaus import PLATEAU_RULE, PLATEAU_WHY, by_layers, has_plateau, plateaus_by_layers
from hmm_utils.claims.records import UNDECIDED, Claim, Finding, Readout, Results, Value
from hmm_utils.data.digits import kind_of
from hmm_utils.model.observables import final

NOTEBOOK = "03_hidden_manifold_model"

CHANCE = 0.4
CHANCE_WHY = f"'up to one half' is read as at least {CHANCE}"

C8 = Claim(
    "C8", "Structured inputs with teacher labels behave like i.i.d. inputs (C4, C5).", "4.1", "Fig. 3 right",
    NOTEBOOK, ("fig3_right",), f"as C4 and C5: {SMALL_RULE}; {LONGER_RULE}", SMALL_WHY, students_recover_teacher,
)  # fmt: skip


def students_agree_on_manifold_only(results: Results, setup: str, at: Readout = final) -> Finding:
    """C9: ε₁,₂ ≈ ε_g on structured inputs; on Gaussian ones ε₁,₂ grows with K, towards 1/2."""
    result = results[setup]
    widest = max(widths_of(result))
    off_manifold = disagreement(result, "gauss")
    return all_of(
        between(relative_disagreement("structured inputs", result, at), 1 / RATIO, RATIO),
        disagreement_grows_with_width(results, setup, at),
        above(mean_over_widths(f"ε₁,₂ Gaussian, K = {widest}", off_manifold, [widest], at), CHANCE),
    )


LIKE_MNIST_RULE = (
    f"ε₁,₂/ε_g between 1/{RATIO:g} and {RATIO:g}; slope of ε₁,₂ (Gaussian) in ln K above 0; ε₁,₂ above {CHANCE} at the "
    "largest K"
)

C9 = Claim(
    "C9", "Structured inputs with latent labels behave like MNIST: students agree on structured inputs up to their "
    "test error, and disagree on Gaussian inputs the more the wider they are, towards one half.",
    "4.1", "Fig. 3 left", NOTEBOOK, ("fig3_left",), LIKE_MNIST_RULE, f"{RATIO_WHY}; {CHANCE_WHY}",
    students_agree_on_manifold_only,
)  # fmt: skip


def only_teacher_labels_have_plateau(results: Results, teacher: str, latent: str) -> Finding:
    """C10: a plateau with teacher labels, and none with latent labels, in the same layer mode."""
    with_teacher = plateaus_by_layers(results, teacher, " (teacher labels)")
    with_latent = plateaus_by_layers(results, latent, " (latent labels)")
    return by_layers({layers: all_of(found, negate(with_latent[layers])) for layers, found in with_teacher.items()})


C10 = Claim(
    "C10", "Structured inputs: a plateau with teacher labels, none with latent labels.", "4.1", "Fig. 2 right",
    NOTEBOOK, ("fig2_right_teacher", "fig2_right_latent"),
    f"{PLATEAU_RULE} with teacher labels, below with latent ones", PLATEAU_WHY, only_teacher_labels_have_plateau,
)  # fmt: skip


def error_is_five_per_cent(results: Results, setup: str) -> Finding:
    """C11: 0.04 < ε_g < 0.06, with the binomial error of a fraction counted on n test images; decided on MNIST only."""
    result = results[setup]
    eps_g, n = float(final(result["eps_g_frac"]).mean()), result.attrs["n_test"]
    error = 1.96 * math.sqrt(eps_g * (1 - eps_g) / n)
    finding = between(Value("ε_g", eps_g, eps_g - error, eps_g + error, n, "test images"), 0.04, 0.06)
    dataset = result.attrs["dataset"].split(";")[0]
    verdict = finding.verdict if kind_of(result.attrs) == "mnist" else UNDECIDED
    return replace(finding, verdict=verdict, notes=(f"on {n} test images ({dataset})",))


C11 = Claim(
    "C11", "A network with M = 4 trained on MNIST reaches an error of about 5 %.", "4.2", "Fig. 4", NOTEBOOK,
    ("fig4_pretraining",), "0.04 < ε_g < 0.06", "'about 5 %' to the nearest per cent", error_is_five_per_cent,
)  # fmt: skip


def trained_teacher_acts_like_random_one(results: Results, both: str, first: str) -> Finding:
    """C12: C4 and C5 where both layers are trained, and a plateau there and where the first layer alone is."""
    plateaus = (has_plateau(f"plateau strength, {results[s].attrs['layers']}", results[s]) for s in (first, both))
    return all_of(students_recover_teacher(results, both), *plateaus)


C12 = Claim(
    "C12", "Gaussian inputs labelled by that network behave as with a random teacher (C4–C6).", "4.2",
    "Fig. 4 left", NOTEBOOK, ("fig4", "fig4_inset"), f"as C4, C5 and C6: {SMALL_RULE}; {PLATEAU_RULE}",
    f"{SMALL_WHY}; {PLATEAU_WHY}", trained_teacher_acts_like_random_one,
)  # fmt: skip

CLAIMS = (C8, C9, C10, C11, C12)
