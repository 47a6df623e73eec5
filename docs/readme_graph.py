"""Draw docs/images/bayes_net_graph.png as the block of the README draws it: python docs/readme_graph.py."""

import re
from pathlib import Path

from sklearn.datasets import load_diabetes

ROOT = Path(__file__).parent.parent


def main():
    """Run the block, and save the picture."""
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    (block,) = (block for block in blocks if "BayesianNetworkDisplay.from_estimator(" in block)
    table = load_diabetes(as_frame=True, scaled=False).frame
    table = table.astype({"age": "Int64", "sex": "category"})
    table.loc[::3, "s1"] = None
    names = {"table": table}
    exec(
        block.replace("BayesianNetworkDisplay.from", "display = BayesianNetworkDisplay.from"), names
    )
    names["display"].figure_.savefig(ROOT / "docs" / "images" / "bayes_net_graph.png")


if __name__ == "__main__":
    main()
