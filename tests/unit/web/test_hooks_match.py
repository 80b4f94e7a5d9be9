"""A delivery names a project of the settings, whatever protocol either side writes it in."""

import pytest

from agent.web.hooks import same_repository

GITHUB = {
    "full_name": "acme/shop",
    "clone_url": "https://github.com/acme/shop.git",
    "ssh_url": "git@github.com:acme/shop.git",
    "git_url": "git://github.com/acme/shop.git",
    "html_url": "https://github.com/acme/shop",
}


@pytest.mark.parametrize(
    "remote",
    [
        "https://github.com/acme/shop.git",
        "https://github.com/acme/shop",
        "https://github.com/Acme/Shop.git/",
        "https://github.com:443/acme/shop.git",
        "git@github.com:acme/shop.git",
        "ssh://git@github.com/acme/shop.git",
        "ssh://git@github.com:22/acme/shop",
        "git@github-of-work:acme/shop.git",
    ],
)
def test_one_repository_has_many_spellings(remote):
    assert same_repository(remote, GITHUB)


@pytest.mark.parametrize(
    "remote",
    [
        "https://github.com/acme/shop-api.git",
        "https://github.com/other/shop.git",
        "https://github.com/acme/sho",
        "/srv/git/shop.git",
        "git@github.com:shop.git",
    ],
)
def test_another_repository_is_not_it(remote):
    assert not same_repository(remote, GITHUB)


def test_a_git_server_of_ones_own_is_told_by_its_clone_url():
    repository = {"full_name": "shop", "clone_url": "http://127.0.0.1:9000/shop.git"}
    assert same_repository("http://127.0.0.1:9000/shop.git", repository)
    assert not same_repository("http://127.0.0.1:9001/shop.git", repository)


@pytest.mark.parametrize(
    "repository", [{}, {"full_name": 7}, {"clone_url": None}, {"clone_url": "http://[bad"}, {"full_name": ""}]
)
def test_nonsense_matches_nothing(repository):
    assert not same_repository("https://github.com/acme/shop.git", repository)
