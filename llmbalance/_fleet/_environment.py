"""What the environment says of connections: the proxy to go through, whom to trust."""

from __future__ import annotations

from collections.abc import Mapping


def environment_settings(url: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Origin settings that the environment asks for: `proxy` and `ca`.

    Proxy: https_proxy, HTTPS_PROXY or http_proxy (lower case only: a web server
    sets the other from a request header), then all_proxy, ALL_PROXY; none for a
    host in no_proxy, NO_PROXY (names with their subdomains, addresses, networks,
    "*").  Certificates: SSL_CERT_FILE, CURL_CA_BUNDLE, REQUESTS_CA_BUNDLE,
    SSL_CERT_DIR.  Read once, when an Origin is made.
    """
    scheme, _, rest = url.partition("://")
    host = rest.partition("/")[0]
    names = {
        "https": ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"),
        "http": ("http_proxy", "all_proxy", "ALL_PROXY"),
    }.get(scheme.lower(), ())
    settings = {}
    proxy = next((environ[name] for name in names if environ.get(name)), None)
    without = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if proxy is not None and not _listed(host, without):
        settings["proxy"] = proxy
    for name in (
        "SSL_CERT_FILE",
        "CURL_CA_BUNDLE",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_DIR",
    ):
        if environ.get(name) and scheme.lower() == "https":
            settings["ca"] = environ[name]
            break
    return settings


def _listed(host: str, entries: str) -> bool:
    name = host.rpartition("]")[0].lstrip("[") or host.rpartition(":")[0] or host
    name = name.lower().rstrip(".")
    for entry in entries.replace(",", " ").split():
        plain = entry.lower().lstrip("*").lstrip(".")
        if entry == "*" or entry == host or name == plain:
            return True
        if plain and name.endswith("." + plain):
            return True
        if "/" in entry and _in_network(name, entry):
            return True
    return False


def _in_network(name: str, network: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(name) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
