"""
Any question
============

A regression answers the one question that it was fitted for. A density of the whole table answers any: what are some
columns likely to be, given some others? Here one density of a table of patients says what blood values go with a body
mass index of 35, or of 20, and then predicts each column from the rest. Held-out patients tell whether to believe it.
"""

# %%
# The data
# --------
# Patients with diabetes: age and sex, six blood values, and how far the disease has progressed a year later.
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_dgm import AutoregressiveDensity

pictures = Path("pictures")
pictures.mkdir(exist_ok=True)

table = load_diabetes(as_frame=True, scaled=False).frame
table.columns = [
    *("age", "sex", "BMI", "blood pressure", "cholesterol", "LDL", "HDL", "cholesterol / HDL"),
    *("log triglycerides", "glucose", "progression"),
]
table = table.astype({"age": int, "progression": int})
table["sex"] = table["sex"].map({1: "A", 2: "B"})  # the source does not say which is which
train, held_out = train_test_split(table, test_size=142, random_state=0)

# %%
# One density
# -----------
# It is fitted once, and knows nothing of the questions to come. (It is smaller than by default, to save time.)
density = AutoregressiveDensity(
    (64, 64), dropout=0.2, batch_size=64, n_iter_no_change=10, random_state=0
).fit(train)

# %%
# What if?
# --------
# Two patients of 60, one with a body mass index of 20, the other of 35. The cells that are asked for are missing, and
# `conditional_sample` fills them in, as often as one likes. It draws from weighted completions, and the effective
# sample size is the number of independent draws that these are worth. Were it below the number of draws, draws would
# repeat.
#
# The answer is about patients as they come. It does not say what a change of weight would do.
N_DRAWS = 2000
questions = pd.DataFrame({"age": 60, "BMI": [20.0, 35.0]}).reindex(columns=table.columns)
draws, ess = density.conditional_sample(questions, N_DRAWS, random_state=0, return_ess=True)

for (bmi, answer), size in zip(draws.groupby("BMI"), ess, strict=True):
    print(f"A patient of 60 with a BMI of {bmi:.0f} ({N_DRAWS} draws, effective size {size:.0f}):")
    quantiles = answer.drop(columns=["age", "BMI", "sex"]).quantile([0.1, 0.5, 0.9])
    print(quantiles.T.to_string(float_format="{:.1f}".format, header=["10 %", "50 %", "90 %"]))
    print(f"sex{(answer.sex == 'A').mean():17.0%} A\n")

# %%
# The ticks below the histograms are the patients of the table who come near the question, within 7 years and 2 units of
# BMI: few of them, which is why one asks a density.
shown = ["blood pressure", "HDL", "cholesterol", "log triglycerides", "glucose", "progression"]
figure, axes = plt.subplots(2, 3, figsize=(12, 6), layout="constrained")
n_near = {}
for name, ax in zip(shown, axes.flat, strict=True):
    bins = np.linspace(*draws[name].quantile([0.002, 0.998]), 26)
    for color, (bmi, answer) in zip(("C0", "C1"), draws.groupby("BMI"), strict=True):
        label = f"60 years, BMI {bmi:.0f}"
        ax.hist(answer[name], bins, density=True, alpha=0.6, color=color, label=label)
    ax.hist(table[name], bins, density=True, histtype="step", color="0.3", label="all patients")
    top = ax.get_ylim()[1]
    for color, bmi, height in (("C0", 20, -0.05), ("C1", 35, -0.12)):
        near = table[(table.age - 60).abs().le(7) & (table.BMI - bmi).abs().le(2)]
        ax.plot(near[name], np.full(len(near), height * top), "|", color=color, markersize=10)
        n_near[bmi] = len(near)
    ax.set(title=name, xlim=bins[[0, -1]], ylim=(-0.18 * top, top), yticks=[])
axes[0, 0].legend(fontsize=9)
path_of_answers = pictures / "conditional_sampling_answers.png"
figure.savefig(path_of_answers)

# %%
# Each column from the rest
# -------------------------
# Of one column, `predict_column` gives the distribution: its mean, quantiles or, of a category, probabilities. Here
# each column of the held-out patients is predicted from the other ones. The peers are regressions, fitted anew for each
# column. Errors (root mean square) are in standard deviations; of the intervals from the 10 % to the 90 % quantile, 80
# in 100 should hold the truth. Effective sizes are those of the median and of the least patient: where one column all
# but follows from the others, few of the weighted values count, and quantiles are coarse.
levels = np.linspace(0.05, 0.95, 19)
numbers = [name for name in table if name != "sex"]
rows, below = {}, {}
for name in numbers:
    X_train, X_held_out = (
        pd.get_dummies(frame.drop(columns=name), dtype=float) for frame in (train, held_out)
    )
    regression = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 3, 25)))
    regressed = regression.fit(X_train, train[name]).predict(X_held_out)
    prediction = density.predict_column(held_out.drop(columns=name), name)
    value, scale = held_out[name].to_numpy(), train[name].std()
    low, high = prediction.quantile([0.1, 0.9]).T
    distance = value[:, None] - prediction.quantile(levels)
    below[name] = (np.sign(-distance).mean(axis=0) + 1) / 2  # on a quantile counts half
    size = prediction.effective_sample_size  # None if all values were enumerated
    rows[name] = {
        "density": np.sqrt(np.mean((prediction.mean() - value) ** 2)) / scale,
        "regression": np.sqrt(np.mean((regressed - value) ** 2)) / scale,
        "in 80 %": np.mean((low <= value) & (value <= high)),
        "effective size": np.nan if size is None else np.median(size),
        "least": np.nan if size is None else size.min(),
    }
summary = pd.DataFrame(rows).T
print(summary.to_string(formatters=["{:.2f}".format] * 3 + ["{:.0f}".format] * 2, na_rep="exact"))

X_train, X_held_out = train.drop(columns="sex"), held_out.drop(columns="sex")
classifier = make_pipeline(StandardScaler(), LogisticRegression()).fit(X_train, train.sex)
sex_right = (density.predict_column(X_held_out, "sex").mode() == held_out.sex).mean()
sex_right_of_classifier = classifier.score(X_held_out, held_out.sex)

# %%
# How far to believe it
# ---------------------
# On the left the progression of held-out patients, in the order of the predicted medians. On the right a line for each
# column: the share of the truths below each quantile. A column that is as sure as it ought to be keeps to the diagonal;
# a line that is steep in the middle belongs to one that could be surer, such as LDL.
figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
prediction = density.predict_column(held_out, "progression")
low, median, high = prediction.quantile([0.1, 0.5, 0.9]).T
order, place = np.argsort(median), np.arange(len(held_out))
left.fill_between(place, low[order], high[order], color="C0", alpha=0.3, label="80 % interval")
left.plot(place, median[order], label="median")
left.plot(place, held_out.progression.to_numpy()[order], "k.", label="truth")
left.set(xlabel="held-out patients", ylabel="progression")
left.legend()
right.plot([0, 1], [0, 1], "--", color="0.5")
for name, share in below.items():
    is_shown = name in ("progression", "LDL")
    style = {"label": name, "linewidth": 2} if is_shown else {"color": "0.75", "zorder": 0}
    right.plot(levels, share, **style)
right.set(xlabel="quantile", ylabel="share of truths below it")
right.legend()
path_of_predictions = pictures / "conditional_sampling_predictions.png"
figure.savefig(path_of_predictions)

# %%
# The finding
# -----------
medians = draws.groupby("BMI")[shown].median()
is_ahead = summary["density"] < summary["regression"]
inside = summary["in 80 %"]
behind = (summary["density"] / summary["regression"] - 1).max()
print(
    f"""
One density has answered {len(numbers) + 3} questions. At 60 years, a BMI of 35 instead of 20 goes with a median blood pressure of
{medians.loc[35, "blood pressure"]:.0f} instead of {medians.loc[20, "blood pressure"]:.0f}, HDL of {medians.loc[35, "HDL"]:.0f} instead of {medians.loc[20, "HDL"]:.0f}, glucose of {medians.loc[35, "glucose"]:.0f} instead of {medians.loc[20, "glucose"]:.0f} and progression of {medians.loc[35, "progression"]:.0f}
instead of {medians.loc[20, "progression"]:.0f}. The {len(table)} patients have {n_near[20]} and {n_near[35]} near these questions.

In predicting a column from the rest it is ahead of a regression for this column in {is_ahead.sum()} of {len(is_ahead)} columns
({", ".join(is_ahead.index[is_ahead])}); elsewhere its error is up to {behind:.0%} larger. It is right about the sex
of {sex_right:.0%} of the held-out patients, a logistic regression about that of {sex_right_of_classifier:.0%}.

Of 80 % intervals {inside.mean():.0%} hold the truth, from {inside.min():.0%} for {inside.idxmin()} to {inside.max():.0%} for {inside.idxmax()}: columns
that follow closely from others could be predicted more sharply than they are.

Pictures: {path_of_answers}, {path_of_predictions}"""
)
