"""Build the package; what there is to say of it stands in setup.cfg.

README.md links to files of the repository. On an index page such links would lead nowhere, so there they are absolute.
"""

import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
IMAGE = r'(!\[[^\]]*\]\(|<img src=")(?!https?:)'
LINK = r"(?<=\]\()(?!https?:|#)"


def absolute(text, repository):
    """README.md with links that lead somewhere from any page."""
    text = re.sub(IMAGE, rf"\g<1>{repository}/raw/main/", text)
    return re.sub(LINK, f"{repository}/blob/main/", text)


setup_cfg = ConfigParser()
setup_cfg.read(HERE / "setup.cfg", encoding="utf-8")
urls = dict(re.findall(r"^(\w+) = (\S+)$", setup_cfg["metadata"]["project_urls"], re.MULTILINE))
readme = (HERE / "README.md").read_text(encoding="utf-8")
setup(long_description=absolute(readme, urls["Source"]))
