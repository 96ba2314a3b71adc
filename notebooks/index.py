# ---
# jupyter:
#   hidden_manifold:
#     title: The paper on one page
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: hidden_manifold,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The paper on one page
#
# *S. Goldt, M. Mézard, F. Krzakala, L. Zdeborová, [arXiv:1909.11500v1](https://arxiv.org/abs/1909.11500v1).*
#
# **What you'll do.** See what the paper asks and answers, and choose where to go on.
#
# **What you'll learn.** Which notebook holds which figure, and which claim is judged where.
#
# **What you'll need.** A few seconds. Nothing is trained here.

# %% tags=["parameters"]
profile: str = "quick"  # scale of the other notebooks' runs: quick or paper
seed: int = 1  # of all random numbers
out: str = ""  # folder with the verdicts of other notebooks (empty: none are shown)

# %%
import numpy as np
from IPython.display import Markdown

from hmm_utils import claims, datasets, experiments, figures, networks
from hmm_utils.claims import report

figures.use_style()

# %% [markdown]
# ## The question and the answer
#
# Theories of learning like data without structure: independent Gaussian inputs, labelled by a random network, the *teacher*. Students trained
# on such data differ from students trained on handwritten digits in two ways that one can measure:
#
# * with a teacher, the test error waits on a **plateau** before the student finds the teacher; on digits there is none;
# * with a teacher, two wide students learn **one function**; two students of digits agree on digits and contradict each other elsewhere.
#
# Which property of digits makes the difference? The paper's answer has two parts, and both are needed: inputs lie on a low-dimensional *hidden
# manifold*, folded into a space of many dimensions, and labels depend on the *position on the manifold*. Below is a manifold of two
# dimensions with labels, and three components of the inputs it makes when $f$ leaves it flat, when $f$ folds it, and when $f$ tears it to
# pieces. [Notebook 00](00_setup.ipynb) draws the whole way from a latent point to an input and its label.

# %%
rngs = {f: np.random.default_rng((seed, 23)) for f in ("identity", "relu", "tanh", "sgn")}  # a plane seen from above
folded = {f: datasets.structured(f, 3, 2, 1500, 10, rng=rng) for f, rng in rngs.items()}
labeller = networks.random_network(2, 1, rng=np.random.default_rng(seed))
colours = {name: datasets.latent_task(inputs, labeller).y_train for name, inputs in folded.items()}
figure = figures.manifold(folded, colours)

# %% [markdown]
# ## Four set-ups, one of which is like digits
#
# | | inputs | labels | like digits? | where |
# |---|---|---|---|---|
# | 1 | i.i.d. Gaussian | of a random teacher, Eq. (4) | no | Fig. 1 right, Fig. 2 left: [01](01_independent_students.ipynb), [02](02_plateaus.ipynb) |
# | 2 | i.i.d. Gaussian | of a network trained on digits | no | Fig. 4: [03](03_hidden_manifold_model.ipynb) |
# | 3 | structured, Eq. (6) | of a random teacher, Eq. (4) | no | Fig. 3 right: [03](03_hidden_manifold_model.ipynb) |
# | 4 | structured, Eq. (6) | latent, Eq. (7) | yes | Fig. 3 left: [03](03_hidden_manifold_model.ipynb) |
#
# The fourth is the hidden manifold model. In the words of this project's set-ups:

# %% tags=["nbval-check-output"]
for number, name in enumerate(("fig1_right", "fig4", "fig3_right", "fig3_left"), start=1):
    run = experiments.experiment(name, profile)
    print(f"{number}  {run.figure:<12}  inputs: {run.inputs:<10}  task: {run.task}")

# %% [markdown]
# ## The notebooks
#
# **[00 — Setup](00_setup.ipynb)** (Sec. 2). Networks, one-sample SGD, the two errors $\epsilon_g$ and $\epsilon_{1,2}$, the kinds of data, how many
# dimensions digits have, and what the text leaves open.
#
# **[01 — Independent students](01_independent_students.ipynb)** (Sec. 3.1, Fig. 1). Two students of digits, one error, different functions. With a
# teacher on Gaussian inputs they learn the same.
#
# **[02 — Plateaus](02_plateaus.ipynb)** (Sec. 3.2, Fig. 2 left). The error waits, and what happens in the network meanwhile.
#
# **[03 — The hidden manifold model](03_hidden_manifold_model.ipynb)** (Sec. 4; Figs. 2 right, 3, 4). Structured inputs with teacher labels and with latent
# ones; a teacher that was trained on digits.
#
# **[A — The data-generating function](A_data_generating_function.ipynb)** (Figs. 5, 6). The manifold must be folded; how is not important.
#
# **[B — Plateau and asymptotic error](B_plateau_and_asymptotic_error.ipynb)** (Fig. 7). A plateau does not hide below the error at the end.
#
# **[C — Early stopping](C_early_stopping.ipynb)** (Fig. 8). The best moments of training instead of its end.
#
# **[D — As many features as inputs](D_extensive_features.ipynb)** (Fig. 9). A manifold of $N/2$ dimensions: wide students over-fit.
#
# **[E — ReLU students](E_relu_students.ipynb)** (Fig. 10). Another activation, another start.
#
# **[T1 — The equations of motion](T1_equations_of_motion.ipynb)** (version 4 of the paper). Why inputs on a manifold look Gaussian to a network,
# and equations that predict the test error at all times; theory on top of simulation.
#
# **[T2 — Deep generators](T2_deep_generators.ipynb)** (arXiv:2006.14709). The same for inputs of deep random networks, and of one trained on digits.
#
# **[A network to play with](playground.ipynb)** (all set-ups, and those between them). Sliders, a button, and two students that are trained while one watches.
#
# ## The claims
#
# Each claim, of the paper (C) and of its successors (T), is judged by numbers, in the notebook named beside it: there one finds what was measured, the criterion and its
# tolerance. These are the verdicts on the stored runs, at the paper's scale.

# %%
rows = [
    f"| {j.claim} | {j.statement} | {j.section}, {j.figure} | [{j.notebook}]({j.notebook}.ipynb) | *{j.verdict}* |"
    for j in claims.judge_stored()
]
Markdown("\n".join(["| | claim | section, figure | notebook | verdict |", "|---|---|---|---|---|", *rows]))

# %% [markdown]
# Smaller runs may decide less. The verdicts of the notebooks that were run together with this one (`hmm run all`):

# %%
quick = report.read_claims(out) if out else []
print("\n".join(f"{c['claim']:<4}{c['verdict']}" for c in quick) or "none: this notebook was run by itself")

# %% [markdown]
# ## Run it
#
# ```
# hmm run all                      # every notebook at the quick profile, results in build/
# hmm claims --out build           # the verdicts of these runs
# hmm claims                       # the verdicts on the stored runs, as above
# hmm run all --profile paper      # computes what the stored runs lack (nothing, unless something was changed)
# ```
