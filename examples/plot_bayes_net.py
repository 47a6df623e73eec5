"""
A Bayesian network
==================

Which blood values hang together, and which only through others? A Bayesian network says it with a graph: each column
depends on its parents alone. Here the graph is learnt from a table of patients, drawn, and asked what if. And the
parameters are counted: what a graph saves against a table of all cells, and what networks make of it.
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
# costs. `conditional="network"` then fits a mixture density to each number given its parents, without cells. (The
# network is smaller than by default, to save time.)
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
# Edges that are missing say what is independent. Two columns that no edge joins are independent once the columns that
# separate them are known, and networkx finds these. The arrows say what was factorised, not what causes what: a graph
# with some of them turned around can be the same model.
print("\nIndependent, once these are known:")
for one, other in (("sex", "LDL"), ("HDL", "glucose"), ("age", "log triglycerides")):
    separator = nx.find_minimal_d_separator(graph, {one}, {other})
    print(f"  {one} and {other}: {', '.join(sorted(separator)) or 'nothing'}")

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
print(
    f"\nMedians of {N_DRAWS} draws each, out of more that are worth {ess.min():.0f} independent ones:"
)
print(answer.T.to_string(float_format="{:.1f}".format))


# %%
# What a graph saves
# ------------------
# A table of the joint distribution has a probability for each combination of cells. The graph's tables have one for
# each cell of a column and its parents; networks have weights, which tell near values from far ones without cells. A
# search for tables (`conditional="table"`) finds fewer edges, since each has to pay for its cells. The same held-out
# patients score each of them.
def network(structure):
    """A density whose conditionals are networks, of the same size as above."""
    return BayesianNetworkDensity(
        structure, conditional="network", hidden_layer_sizes=(64, 64), dropout=0.2, random_state=0
    )


densities = {
    "tables, no edges": BayesianNetworkDensity("empty", conditional="table"),
    "tables, their own graph": BayesianNetworkDensity(conditional="table"),
    "tables, the graph": BayesianNetworkDensity(graph, conditional="table"),
    "networks, no edges": network("empty"),
    "networks, the graph": network(graph),
}
n_bins = round(len(train) ** (1 / 3))  # of each column of numbers, as the tables have them
n_cells = 2 * n_bins ** (len(table.columns) - 1)
rows = {"table of all cells": (np.nan, n_cells - 1, np.nan)}
for name, fitted in densities.items():
    fitted.fit(train)
    nats = fitted.score_samples(held_out).mean()
    rows[name] = fitted.graph_.number_of_edges(), fitted.n_params_, nats
summary = pd.DataFrame(rows, index=["edges", "parameters", "nats a row"]).T
print("\n" + summary.to_string(float_format="{:,.4g}".format, na_rep="-"))

# %%
# The finding
# -----------
nats, n_params = summary["nats a row"], summary["parameters"]
gain = nats["networks, the graph"] - nats["networks, no edges"]
print(
    f"""
A table of all cells would have {n_cells:.1e} parameters for {len(train)} patients. With the graph, of {graph.number_of_edges()} edges, networks make do with
{n_params["networks, the graph"]:,.0f}, and gain {gain:.2f} nats a held-out patient over columns each by itself. Tables pay for each cell: with the
same graph they have {n_params["tables, the graph"]:,.0f} parameters and score {nats["tables, the graph"]:.2f}, with their own, of {summary["edges"]["tables, their own graph"]:.0f} edges, {n_params["tables, their own graph"]:,.0f} and {nats["tables, their own graph"]:.2f}, and
without edges {n_params["tables, no edges"]:,.0f} and {nats["tables, no edges"]:.2f}.

A BMI of 35 instead of 20 goes with a median progression of {answer.loc[35.0, "progression"]:.0f} instead of {answer.loc[20.0, "progression"]:.0f}; in the table it is {answer.loc["table, BMI from 32", "progression"]:.0f} from 32
on, and {answer.loc["table, BMI up to 22", "progression"]:.0f} up to 22.

Picture: {path_of_graph}"""
)
