"""
A Bayesian network
==================

Which blood values hang together, and which only through others? A Bayesian network says it with a graph: each column depends
on its parents alone. Here the graph is learnt from a table of patients, drawn, and asked what if. And the parameters are
counted: what a graph saves against a table of all cells, and what networks make of it.
"""

# %%
# The data
# --------
# Patients with diabetes: age and sex, six blood values, and how far the disease has progressed a year later.
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

from sklearn_dgm import BayesianNetworkDensity, BayesianNetworkDisplay

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
# The graph
# ---------
# The search sees numbers in three cells each, and weighs what an edge says of the table against the parameters that it
# costs. `conditional="network"` then fits a mixture density to each number given its parents, without cells. (The network
# is smaller than by default, to save time.)
density = BayesianNetworkDensity(
    conditional="network", hidden_layer_sizes=(64, 64), dropout=0.2, random_state=0
).fit(train)
graph = density.graph_

display = BayesianNetworkDisplay.from_estimator(density)
path_of_graph = pictures / "bayes_net_graph.png"
display.figure_.savefig(path_of_graph)

strongest = sorted(graph.edges(data="strength"), key=lambda edge: -edge[2])
for parent, child, strength in strongest:
    print(f"{parent:>17} -> {child:17} {strength:.2f} nats")

# %%
# A column without a path to another one is independent of it, in this model. Where there are paths, networkx tells what
# blocks them. The arrows say what was factorised, not what causes what: a graph with some of them turned around can be the
# same model.
print("\nIndependent once the third is known:")
for one, other, given in (
    ("BMI", "glucose", "blood pressure"),
    ("sex", "LDL", "cholesterol / HDL"),
    ("BMI", "LDL", "progression"),
):
    answer = nx.is_d_separator(graph, {one}, {other}, {given})
    print(f"  {one} and {other}, given {given}: {'yes' if answer else 'no'}")

# %%
# What if?
# --------
# Patients with a body mass index of 20 and of 35, all else unknown. The graph is asked against its arrows as well as
# along them: the missing cells are drawn given the two that are known.
N_DRAWS = 4000
questions = pd.DataFrame({"BMI": [20.0, 35.0]}).reindex(columns=table.columns)
draws, ess = density.conditional_sample(questions, N_DRAWS, random_state=0, return_ess=True)
answer = draws.groupby("BMI").median(numeric_only=True)
answer.loc["table, BMI up to 22"] = table[table.BMI <= 22].median(numeric_only=True)
answer.loc["table, BMI from 32"] = table[table.BMI >= 32].median(numeric_only=True)
print(f"\nMedians of {N_DRAWS} draws each (effective sample size {ess.min():.0f} and more):")
print(answer.T.to_string(float_format="{:.1f}".format))

# %%
# What a graph saves
# ------------------
# A table of the joint distribution has a probability for each combination of cells. The graph's tables have one for each
# cell of a column and its parents. A complete graph would have all that earlier columns can tell, and needs networks.
# The same held-out patients score each of them.
tables = BayesianNetworkDensity(graph, conditional="table").fit(train)
alone = BayesianNetworkDensity("empty", conditional="table").fit(train)
networks_alone = BayesianNetworkDensity(
    "empty", conditional="network", hidden_layer_sizes=(64, 64), dropout=0.2, random_state=0
).fit(train)
n_cells = {
    name: 2 if name == "sex" else round(len(train) ** (1 / 3)) for name in table
}  # as the tables have them
rows = {
    "table of all cells": (np.prod([float(n) for n in n_cells.values()]) - 1, np.nan),
    "tables, no edges": (alone.n_params_, alone.score_samples(held_out).mean()),
    "tables, the graph": (tables.n_params_, tables.score_samples(held_out).mean()),
    "networks, no edges": (networks_alone.n_params_, networks_alone.score_samples(held_out).mean()),
    "networks, the graph": (density.n_params_, density.score_samples(held_out).mean()),
}
summary = pd.DataFrame(rows, index=["parameters", "held-out nats a row"]).T
print("\n" + summary.to_string(formatters=["{:,.0f}".format, "{:.2f}".format], na_rep="-"))

# %%
# The finding
# -----------
held_out_nats = summary["held-out nats a row"]
gain = held_out_nats["networks, the graph"] - held_out_nats["networks, no edges"]
print(
    f"""
{graph.number_of_edges()} of {len(table.columns) * (len(table.columns) - 1) // 2} possible edges are worth their parameters. They gain {gain:.2f} nats a held-out patient over columns each by
itself. With the same graph, tables have {tables.n_params_:,} parameters where a table of all cells would have {rows["table of all cells"][0]:.1e}, and
networks {density.n_params_:,}, which they share: these score {held_out_nats["networks, the graph"] - held_out_nats["tables, the graph"]:.2f} nats more, because they need no cells.

A BMI of 35 instead of 20 goes with a median progression of {answer.loc[35.0, "progression"]:.0f} instead of {answer.loc[20.0, "progression"]:.0f}; in the table it is {answer.loc["table, BMI from 32", "progression"]:.0f} from 32 on,
and {answer.loc["table, BMI up to 22", "progression"]:.0f} up to 22.

Picture: {path_of_graph}"""
)
