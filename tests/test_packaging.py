"""What `pip install .` installs and what a Space installs is the same list."""

import ast
import re

from paths import ROOT


def test_requirements_are_the_projects_dependencies():
    toml = (ROOT / "pyproject.toml").read_text()
    listed = re.search(r"^dependencies = (\[.*?^\])", toml, re.DOTALL | re.MULTILINE)
    assert listed, "pyproject.toml has no dependencies"
    wanted = ast.literal_eval(listed[1])  # a TOML list of strings with comments is a Python one
    assert len(wanted) > 5
    text = (ROOT / "requirements.txt").read_text()
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    assert [line for line in lines if line] == wanted


def test_the_licence_is_whole():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text and "Version 2.0, January 2004" in text
    assert "9. Accepting Warranty or Additional Liability" in text
