"""
Rows without a density
======================

A generative adversarial network draws rows and cannot score them. It learns from a critic that tells its rows from
those of the table, whose loss says nothing of how good they are; held-out rows do.
"""

# %%
# The data
# --------
# Chemical analyses of Italian wines, and the cultivar that each comes from. Half of the rows are held out.
from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

from sklearn_dgm import AutoregressiveDensity, TabularGAN, TrainingDisplay
from sklearn_dgm.metrics import classifier_two_sample_test, energy_distance

pictures = Path("pictures")
pictures.mkdir(exist_ok=True)

wine = load_wine(as_frame=True).frame.rename(columns={"target": "cultivar"})
wine["cultivar"] = wine["cultivar"].map({0: "Barolo", 1: "Grignolino", 2: "Barbera"})
wine = wine.astype({"cultivar": "category"})
train, test = train_test_split(wine, test_size=0.5, stratify=wine["cultivar"], random_state=0)

# %%
# The fits
# --------
# In training, the generator is given a cultivar, so that it can be asked for one.
gan = TabularGAN(max_epochs=150, random_state=0).fit(train)
density = AutoregressiveDensity(random_state=0).fit(train)
drawn = {
    "held out": test,
    "TabularGAN": gan.sample(len(test), random_state=0),
    "AutoregressiveDensity": density.sample(len(test), random_state=0),
}
barbera = gan.sample(len(test), random_state=1, conditions={"cultivar": "Barbera"})

# %%
# What they draw
# --------------
# The critic's distance rises and falls with the critic; the accuracy of nearest neighbours in telling held-out rows
# from drawn ones tells when to stop. A half would be perfect.
figure, axes = plt.subplots(2, 3, figsize=(12, 7), layout="constrained")
(of_critic, of_training, asked), places = axes
of_critic.plot([record["train_critic_distance"] for record in gan.history_], color="tab:gray")
of_critic.set(xlabel="epoch", ylabel="critic's distance", title="What the critic says")
TrainingDisplay.from_estimator(gan, ax=of_training)
of_training.set_title("What held-out rows say")
colours = {"Barolo": "tab:red", "Grignolino": "tab:blue", "Barbera": "tab:green"}
panels = [
    *zip(places, drawn.items(), strict=True),
    (asked, ("TabularGAN, asked for Barbera", barbera)),
]
for axis, (name, rows) in panels:
    for cultivar, of in rows.groupby("cultivar", observed=True):
        axis.scatter(of["flavanoids"], of["color_intensity"], s=9, color=colours[cultivar])
    axis.set(
        xlabel="flavanoids", ylabel="colour intensity", xlim=(0, 5.5), ylim=(0, 14), title=name
    )
path = pictures / "gan.png"
figure.savefig(path)

# %%
# The finding
# -----------
for name, rows in drawn.items():
    if name != "held out":
        auc = classifier_two_sample_test(test, rows, random_state=0).auc
        distance = energy_distance(test, rows, n_permutations=0).statistic
        print(
            f"{name}: a classifier's area under the curve {auc:.2f}, energy distance {distance:.3f}."
        )
print(f"Score of a density: {density.score(test) / len(test):.2f} nats a row; a GAN has none.")
print(f"Picture: {path}")
