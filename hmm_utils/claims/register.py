"""The register: every claim with its statement, its place, its criterion and why that criterion."""

from __future__ import annotations

from functools import partial

from hmm_utils.claims.checks import (
    c1,
    c2,
    c3,
    c6,
    c7,
    c8,
    c9,
    c10,
    c11,
    c12,
    c13,
    c14,
    c15,
    c16,
    c17,
    c18,
    c19,
    one_function,
    real_or_signs,
    recovered,
)
from hmm_utils.claims.criteria import (
    AGREES,
    AGREES_WHY,
    AROUND,
    AROUND_WHY,
    CHANCE,
    CHANCE_WHY,
    FINITE_WHY,
    NEAR,
    PLATEAU,
    PLATEAU_WHY,
    RATIO,
    RATIO_WHY,
    SLOW,
    SMALL,
    SMALL_WHY,
    TINY,
    ZERO_WHY,
)
from hmm_utils.claims.plateaus import FLAT
from hmm_utils.claims.records import Claim
from hmm_utils.claims.theory import FEW, LIMIT, agrees, t1_3, t1_4, t1_5, t1_6, t1_7, t2_1, t2_2, t2_3, t2_4
from hmm_utils.runs import deep, dimension

_SMALL_RULE = f"mean over K ≥ M below {SMALL}"
_LONGER_RULE = "where errors are still falling at the end, the same runs trained on decide"
_PLATEAU_RULE = (
    f"steepening s(t₂) − s(t₁) after s(t₁) < {FLAT}, with s = −dlnε/dlnt and t₁, t₂ chosen on the pairs' other "
    f"students, above {PLATEAU}"
)
_NO_PLATEAU_RULE = f"steepening after a flat stretch below {PLATEAU}"
_LIKE_MNIST_RULE = (
    f"ε₁,₂/ε_g between 1/{RATIO:g} and {RATIO:g}; slope of ε₁,₂ (Gaussian) in ln K above 0; ε₁,₂ above {CHANCE} at the "
    "largest K"
)

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "C1", "On MNIST the test error falls as students get wider.", "3.1", "Fig. 1 left", "01_independent_students",
        ("fig1_left",), "slope of ε_g in ln K below 0", ZERO_WHY, c1,
    ),
    Claim(
        "C2", "For K ≥ 3 two students disagree on MNIST images about as often as they err.", "3.1", "Fig. 1 left",
        "01_independent_students", ("fig1_left",), f"ε₁,₂/ε_g between 1/{RATIO:g} and {RATIO:g}", RATIO_WHY, c2,
    ),
    Claim(
        "C3", "On Gaussian inputs their disagreement grows with K.", "3.1", "Fig. 1 left", "01_independent_students",
        ("fig1_left",), "slope of ε₁,₂ in ln K above 0", ZERO_WHY, c3,
    ),
    Claim(
        "C4", "With i.i.d. inputs and a teacher the test error goes to zero for K ≥ M.", "3.1", "Fig. 1 right",
        "01_independent_students", ("fig1_right", "fig1_right_signs"), f"{_SMALL_RULE}; {_LONGER_RULE}", SMALL_WHY,
        partial(real_or_signs, recovered),
    ),
    Claim(
        "C5", "There, students disagree on Gaussian inputs for K < M and learn one function for K ≥ M.",
        "3.1", "Fig. 1 right", "01_independent_students", ("fig1_right", "fig1_right_signs"),
        f"mean over K < M above {SMALL}, over K ≥ M below; {_LONGER_RULE}", SMALL_WHY,
        partial(real_or_signs, one_function),
    ),
    Claim(
        "C6", "With i.i.d. inputs and a teacher the test error stays on a plateau and then drops.", "3.2",
        "Fig. 2 left", "02_plateaus", ("fig2_left_iid",), _PLATEAU_RULE, PLATEAU_WHY, c6,
    ),
    Claim(
        "C7", "On MNIST there is no plateau.", "3.2", "Fig. 2 left", "02_plateaus", ("fig2_left_digits",),
        _NO_PLATEAU_RULE, PLATEAU_WHY, c7,
    ),
    Claim(
        "C8", "Structured inputs with teacher labels behave like i.i.d. inputs (C4, C5).", "4.1", "Fig. 3 right",
        "03_hidden_manifold_model", ("fig3_right",), f"as C4 and C5: {_SMALL_RULE}; {_LONGER_RULE}", SMALL_WHY, c8,
    ),
    Claim(
        "C9", "Structured inputs with latent labels behave like MNIST: students agree on structured inputs up to their "
        "test error, and disagree on Gaussian inputs the more the wider they are, towards one half.",
        "4.1", "Fig. 3 left", "03_hidden_manifold_model", ("fig3_left",), _LIKE_MNIST_RULE,
        f"{RATIO_WHY}; {CHANCE_WHY}", c9,
    ),
    Claim(
        "C10", "Structured inputs: a plateau with teacher labels, none with latent labels.", "4.1", "Fig. 2 right",
        "03_hidden_manifold_model", ("fig2_right_teacher", "fig2_right_latent"),
        f"{_PLATEAU_RULE} with teacher labels, below with latent ones", PLATEAU_WHY, c10,
    ),
    Claim(
        "C11", "A network with M = 4 trained on MNIST reaches an error of about 5 %.", "4.2", "Fig. 4",
        "03_hidden_manifold_model", ("fig4_pretraining",), "0.04 < ε_g < 0.06",
        "'about 5 %' to the nearest per cent", c11,
    ),
    Claim(
        "C12", "Gaussian inputs labelled by that network behave as with a random teacher (C4–C6).", "4.2",
        "Fig. 4 left", "03_hidden_manifold_model", ("fig4", "fig4_inset"),
        f"as C4, C5 and C6: {_SMALL_RULE}; {_PLATEAU_RULE}",
        f"{SMALL_WHY}; {PLATEAU_WHY}", c12,
    ),
    Claim(
        "C13", "If structured inputs are not folded, f(x) = x, students that have learnt a teacher still disagree on "
        "Gaussian inputs as if by chance.", "A", "Fig. 5", "A_data_generating_function",
        ("fig5_teacher", "fig5_latent"),
        f"teacher labels: {_SMALL_RULE} and ε₁,₂ (Gaussian) between {CHANCE} and {1 - CHANCE:g}, mean over K",
        f"{SMALL_WHY}; students that share D of N directions of the teacher and nothing else agree a little more "
        "often than by chance: with weights of one size and K = M = 1, ε₁,₂ = arccos(D/N)/π, which is 0.496 at the "
        f"paper's D/N and above {CHANCE} up to D/N = 0.3",
        c13,
    ),
    Claim(
        "C14", "Folding with f = ReLU does what folding with the sign does: latent labels behave as in C9, teacher "
        "labels as in C4 and C5.", "A", "Fig. 6", "A_data_generating_function", ("fig6_latent", "fig6_teacher"),
        f"latent labels, as C9: {_LIKE_MNIST_RULE}; teacher labels, as C4 and C5, where no K is below M = 1: "
        f"{_SMALL_RULE}, for ε_g and for ε₁,₂ (Gaussian)", f"{RATIO_WHY}; {CHANCE_WHY}; {SMALL_WHY}", c14,
    ),
    Claim(
        "C15", "A latent task shows no plateau though its error ends as low as that of a teacher task that shows one.",
        "B", "Fig. 7", "B_plateau_and_asymptotic_error", ("fig7_latent", "fig7_teacher"),
        f"teacher task: {_PLATEAU_RULE}; latent task: {_NO_PLATEAU_RULE}; ε_g^mse of the latent task at the end over "
        "that of the teacher task at t₁, on its plateau, below 1 (caption of Fig. 7); over that of the teacher task at "
        f"the end between 1/{RATIO:g} and {RATIO:g} (text of App. B)",
        f"{PLATEAU_WHY}; an error that ends below the height of a plateau cannot be what hides one, so that 1 is the "
        "border; 'within fluctuations, the same' is read as within a factor of two, as 'about' is elsewhere", c15,
    ),
    Claim(
        "C16", "The smallest error along training in place of the last changes no verdict on C1, C2, C3, C8 and C9.",
        "C", "Fig. 8", "C_early_stopping", ("fig1_left", "fig3_left", "fig3_right"),
        "the criteria of C1, C2, C3, C8 and C9, with min over t of every ε(t) in place of ε at the end, give the same "
        "verdicts, and where one of the two needs a condition, on that", "the tolerances are those of the claims "
        "themselves; a verdict that is undecided either way is no evidence that it stays", c16,
    ),
    Claim(
        "C17", "With as many latent directions as D = N/2 wider students do worse on latent labels, early stopping "
        "mends that in part, and errors are much higher than at D = 10; teacher labels behave as at D = 10.",
        "D", "Fig. 9", "D_extensive_features", ("fig9_latent", "fig9_teacher"),
        "latent labels: 0 < dε̂_g/dlnK < dε_g/dlnK, with ε̂_g the early-stopping error, and ε_g at D = N/2 over that at "
        f"D = 10 above {RATIO:g}; teacher labels: C8 holds or fails at both D, and where one of them needs a "
        "condition, on that",
        f"{ZERO_WHY}; 'much higher' is read as more than what passes for 'about' elsewhere, a factor of {RATIO:g}; "
        "for C8 its own tolerance", c17, ("fig3_left", "fig3_right"),
    ),
    Claim(
        "C18", "ReLU students that start near zero behave like sigmoidal ones: on MNIST, with a teacher, which they "
        "find for K > M and sometimes late for K = M, and with latent labels.", "E", "Fig. 10", "E_relu_students",
        ("fig10_left", "fig10_latent", "fig10_teacher"),
        f"MNIST: slope of ε_g in ln K below 0, ε₁,₂/ε_g below {RATIO:g}, slope of ε₁,₂ (Gaussian) above 0; teacher "
        f"labels: mean over K > M of ε_g below {TINY:g} and of ε₁,₂ (Gaussian) below {SMALL}, ε_g(K = M) below the "
        f"mean over K < M and above {TINY:g} in some runs, half of them at most; latent labels: ε₁,₂/ε_g on structured "
        f"inputs below {RATIO:g}, slope of ε₁,₂ (Gaussian) above 0, and ε₁,₂ (Gaussian) above ε_g at the largest K",
        f"{ZERO_WHY}; the text says 'comparable or less', so that nothing bounds the ratio from below, and 'less than "
        f"10⁻³'; it saw two slow runs in ten: that none is slow counts against it where (1 − {SLOW})ⁿ is below 0.05; "
        "'increases beyond' is above", c18,
    ),
    Claim(
        "C19", f"The intrinsic dimension of MNIST is around {dimension.PAPER}.", "1", "text", "00_setup",
        (dimension.NAME,),
        f"dimension by MLE, TwoNN and CorrInt, each with its usual neighbourhoods, k = "
        f"{', '.join(map(str, dimension.USUAL.values()))}, over what it gives for as many structured inputs "
        f"(f = tanh) with D = {dimension.PAPER}, between 1/{AROUND} and {AROUND}", AROUND_WHY, c19,
    ),
    Claim(
        "T1.1", "With one equation per mode, the equations of motion predict the error of online SGD at all times.",
        "v4", "theory", "T1_equations_of_motion", ("t1/simulation",),
        f"deviation of ε_g from the mean of the simulations, over itself, at N ≥ {LIMIT}: mean over log-spaced times "
        f"below {FEW['mean']:g}, largest below {FEW['largest']:g}, for every student", FINITE_WHY,
        partial(agrees, ("mean", "largest")),
    ),
    Claim(
        "T1.2", "They predict every overlap of students with each other and with the teacher.", "v4", "theory",
        "T1_equations_of_motion", ("t1/simulation",),
        f"largest |ΔQ| and |ΔR| over entries and times at N ≥ {LIMIT} below {FEW['Q']:g}", FINITE_WHY,
        partial(agrees, ("Q", "R")),
    ),
    Claim(
        "T1.3", "What is left between theory and simulation falls as N grows at fixed D/N.", "v4", "theory",
        "T1_equations_of_motion", ("t1/scaling",), "α of a fit of mean deviation ∝ N^−α above 0", ZERO_WHY, t1_3,
    ),
    Claim(
        "T1.4", "One average over modes does not do in place of the teacher's overlap with each.", "v4", "theory",
        "T1_equations_of_motion", ("t1/simulation",),
        f"largest deviation of ε_g with averaged overlaps above {FEW['largest']:g}, the border of T1.1",
        "an approximation is told from the theory by what the theory is held to", t1_4,
    ),
    Claim(
        "T1.5", "For a vanishing learning rate the error ends where the best linear estimate of the latent fields puts "
        "it, at any D/N.", "v4", "theory", "T1_equations_of_motion", ("t1/error_against_delta",),
        f"integrated error, extrapolated from η = 0.1 and 0.05, over the analytic one: off by less than "
        f"{FEW['largest']:g} for D/N = 0.005 to 0.8",
        "the extrapolation leaves O(η²), which is 0.01 of the error at most", t1_5,
    ),
    Claim(
        "T1.6", "The equations alone show a plateau in the teacher task and none in the latent task with f = sgn.",
        "v4", "theory", "T1_equations_of_motion", ("t1/plateaus",),
        f"steepening after a flat stretch, mean over draws of the weights, above {PLATEAU} with teacher labels and "
        "below it with latent ones, for every D and whichever layers are trained", PLATEAU_WHY, t1_6,
    ),
    Claim(
        "T1.7", "Beyond K = M, wider students end worse if the first layer alone is trained, and better if both are.",
        "v4", "theory", "T1_equations_of_motion", ("t1/error_against_width",),
        "dlnε_g/dlnK over K ≥ M above 0 for the first layer, below 0 for both", ZERO_WHY, t1_7,
    ),
    Claim(
        "T2.1", "The equations of motion for Gaussian fields with the covariances Ω and Φ predict ε_g of online SGD on "
        "inputs of random generators, shallow, deep and convolutional.", "2006.14709", "text", "T2_deep_generators",
        (deep.NAME,), f"|ε_g/theory − 1| with ε_g from Q and R, mean over log-spaced times, draws and random "
        f"generators, below {AGREES:g}, and above it for none of these generators",
        AGREES_WHY, t2_1,
    ),
    Claim(
        "T2.2", "They predict it for a generator trained on digits too, though less well.", "2006.14709", "text",
        "T2_deep_generators", (deep.NAME,),
        f"|ε_g/theory − 1| as in T2.1 below {NEAR:g}; with ε_g on test inputs, over the mean of the "
        "random generators, above 1", "no theorem covers trained weights, and a tenth is what a curve on a logarithmic "
        "axis still shows as agreement; 1 is the border of 'less well'", t2_2,
    ),
    Claim(
        "T2.3", "The further local fields are from a Gaussian, the further the theory is off.", "2006.14709", "text",
        "T2_deep_generators", (deep.NAME,),
        "rank correlation, over all generators and students, of √⟨κ₃²/12 + κ₄²/48⟩ of the local fields with the "
        "deviation of ε_g on test inputs, above 0", ZERO_WHY, t2_3,
    ),
    Claim(
        "T2.4", "Covariances that are followed from layer to layer serve worse at late times than sampled ones, "
        "for f = tanh.", "2006.14709", "text", "T2_deep_generators", (deep.NAME,),
        "deviation of ε_g on test inputs over the last quarter of the log-spaced times, with propagated covariances "
        "over that with sampled ones, above 1", "1 is the claim's own border", t2_4,
    ),
)  # fmt: skip
