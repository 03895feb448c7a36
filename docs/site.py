#!/usr/bin/env python3
"""Builds the documents into a site with search: docs/site.py DIRECTORY

mdBook reads one directory, and the pages link to files all over the repository. So what they may link to is copied below
DIRECTORY as it lies in the repository, and the site is DIRECTORY/html. Then every link and anchor of it is looked up.
"""

import html.parser
import pathlib
import re
import shutil
import subprocess
import sys
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
LINKED = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "docs", "deploy",
          "src/lib.rs", "src/api/openapi/openapi.json"]


def stage(directory: pathlib.Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    source = directory / "src"
    for name in LINKED:
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("secrets"))
        else:
            shutil.copy(ROOT / name, target)
    shutil.move(source / "docs/book.toml", directory / "book.toml")
    summary = (source / "docs/SUMMARY.md").read_text()
    # Its links are those of docs/, and it is to lie above.
    summary = re.sub(r"\]\((?!\.\./)", "](docs/", summary).replace("](../", "](")
    (source / "SUMMARY.md").write_text(summary)
    (source / "docs/SUMMARY.md").unlink()
    # The site has its contents beside each page.
    front = source / "README.md"
    front.write_text(front.read_text().replace("[`docs/`](docs/SUMMARY.md)", "`docs/`"))


class Page(html.parser.HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors, self.links = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if identifier := attributes.get("id"):
            self.anchors.add(identifier)
        if link := attributes.get("href") or attributes.get("src"):
            self.links.append(link)


def dead_links(site: pathlib.Path) -> list[str]:
    pages = {path: Page(path.read_text()) for path in site.rglob("*.html")}
    dead = []
    for path, page in pages.items():
        # Of the error page, links are from the root.
        for link in page.links if path.name not in ("404.html", "toc.html") else []:
            address = urllib.parse.urlsplit(link)
            if address.scheme or address.netloc:
                continue
            target = (path.parent / urllib.parse.unquote(address.path)).resolve() if address.path else path
            if target.is_dir():
                target = target / "index.html"
            anchor = urllib.parse.unquote(address.fragment)
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].anchors):
                dead.append(f"{path.relative_to(site)}: {link}")
    return dead


def main() -> None:
    directory = pathlib.Path(sys.argv[1]).resolve()
    stage(directory)
    subprocess.run(["mdbook", "build", directory], check=True)
    site = directory / "html"
    if dead := dead_links(site):
        sys.exit("dead links:\n" + "\n".join(dead))
    print(f"{site}/index.html")


if __name__ == "__main__":
    main()
