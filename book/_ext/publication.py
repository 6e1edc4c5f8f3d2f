"""Where this copy of the book is published: launch links, repository buttons and base address.

The project does not know its public address. It is read at build time from ``GITHUB_REPOSITORY``
("owner/name", as GitHub Actions sets it) or from the git remote ``origin`` where that is on
GitHub. Without either, what needs it is left out and the build log says so.
"""

import os
import re
import subprocess

from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
REMOTE = re.compile(r"github\.com[:/](?P<repository>[\w.-]+/[\w.-]+?)(\.git)?/?$")


def repository(environment, folder):
    """Return "owner/name" on GitHub, or None where nothing names it."""
    if environment.get("GITHUB_REPOSITORY"):
        return environment["GITHUB_REPOSITORY"]
    command = ["git", "-C", str(folder), "remote", "get-url", "origin"]
    try:
        remote = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:  # a copy without git
        return None
    match = REMOTE.search(remote.strip())
    return match["repository"] if match else None


def base_address(environment, name):
    """Return the book's address: ``BOOK_URL`` where set, else that of the project's Pages."""
    owner, project = name.split("/")
    address = environment.get("BOOK_URL") or f"https://{owner.lower()}.github.io/{project}"
    return address.rstrip("/") + "/"


def publish(app, config):
    """Set all options that depend on the public address."""
    name = repository(os.environ, app.srcdir)
    if name is None:
        LOGGER.info("publication: no GitHub repository known: no launch links, no base address")
        return
    address = base_address(os.environ, name)
    LOGGER.info("publication: launch links to github.com/%s, book at %s", name, address)
    config.html_baseurl = config.ogp_site_url = address
    config.html_theme_options |= {
        "repository_url": f"https://github.com/{name}",
        "repository_branch": "main",
        "path_to_docs": "",
        "use_repository_button": True,
        "use_issues_button": True,
        "launch_buttons": {
            "notebook_interface": "jupyterlab",
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
        },
    }


def setup(app):
    """Run before the theme and the other extensions read their options."""
    app.connect("config-inited", publish, priority=1)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
