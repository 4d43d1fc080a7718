"""Bot checks are recognized by the marks of their vendors, and other pages are not."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import httpx
import pytest
import respx

from worker.errors import ErrorCode, SiteError
from worker.http import HttpClient, HttpSettings, Response, SiteHttp, open_http
from worker.http.challenges import bot_check, captcha, html_instead_of_json
from worker.http.exits import OWN_ADDRESS, Exit
from worker.model import Observed
from worker.sources.jobspy_tally import classify

URL = "https://api.example.com/v1/jobs"

CHALLENGES = {
    "Cloudflare": [
        '<!DOCTYPE html><html lang="en-US"><head><title>Just a moment...</title><meta name="robots" content="noindex">',
        (
            '<!DOCTYPE html><html lang="de"><head><title>Nur einen Moment…</title></head><body><script nonce="x">'
            "(function(){window._cf_chl_opt = {cvId: '3',cZone: 'www.example.com',cType: 'managed'};"
        ),
        "<!DOCTYPE html>\n<!--[if lt IE 7]> <html> <![endif]--><head>\n<title>Attention Required! | Cloudflare</title>",
    ],
    "DataDome": [
        (
            "<html><head><title>example.com</title></head><body><script>var dd={'rt':'i'}</script>"
            '<script data-cfasync="false" src="https://ct.captcha-delivery.com/i.js"></script></body></html>'
        ),
        '<html><body><iframe src="https://geo.captcha-delivery.com/captcha/?initialCid=x" title="check"></iframe>',
        '{"url":"https://geo.captcha-delivery.com/captcha/?initialCid=AHrlqAAA&hash=1"}',
    ],
    "HUMAN": [
        (
            "<!DOCTYPE html><html><head><title>Access to this page has been denied</title>"
            '<meta name="description" content="px-captcha"></head>'
        ),
        '<html><body><script>window._pxAppId = \'PXx\';</script><div id="px-captcha" role="main"></div>',
        '<html><body><div class="a" id="px-captcha-wrapper"></div>',
    ],
    "Akamai": [
        '<html><body><div id="sec-if-cpt-container" role="main"><div class="behavioral-content"></div>',
        '<html><head><meta http-equiv="refresh" content="5; URL=\'/jobs?bm-verify=AAQAAAAJ\'" /></head>',
        (
            "<HTML><HEAD>\n<TITLE>Access Denied</TITLE>\n</HEAD><BODY>\n<H1>Access Denied</H1>\nYou may not\n"
            "Reference&#32;&#35;18\n<P>https&#58;&#47;&#47;x</P> https://errors.edgesuite.net/18.1\n</BODY>"
        ),
    ],
    "AWS WAF": [
        (
            '<!DOCTYPE html><html lang="en"><head><script type="text/javascript">window.awsWafCookieDomainList = [];'
            'window.gokuProps = {"key":"x"};</script>'
        )
    ],
    "Imperva": [
        (
            '<html style="height:100%"><head><META NAME="ROBOTS" CONTENT="NOINDEX, NOFOLLOW"></head><body><iframe '
            'id="main-iframe" src="/_Incapsula_Resource?CWUDNSAI=9">Request unsuccessful. Incapsula incident ID: 1-2'
        )
    ],
}
WIDGETS = {
    "hCaptcha": '<html><form><div class="h-captcha" data-sitekey="x"></div></form>',
    "reCAPTCHA": '<html><script src="https://www.google.com/recaptcha/enterprise.js?render=x"></script>',
    "Cloudflare": '<html><div class="box cf-turnstile" data-sitekey="x"></div>',
}
ORDINARY = [
    "",
    "<!DOCTYPE html>\n\n<!---->",
    "<!DOCTYPE html><title>Jobs</title><p>Just a moment... we load the jobs.</p>",
    # Scripts that vendors add to pages of jobs.
    "<html><script>window.__CF$cv$params={r:'x'};a.src='/cdn-cgi/challenge-platform/scripts/jsd/main.js'</script>",
    '<html><script src="https://js.datadome.co/tags.js"></script><script>window._pxAppId="PXx"</script>',
    '<html><script src="/akam/13/pixel_x"></script><script src="https://x.sdk.awswaf.com/x/challenge.js"></script>',
    "<html><head><title>Access Denied</title></head><body>Sign in first.</body>",
    # Jobs about bot checks.
    "<html><p>You reverse window._cf_chl_opt, id=&quot;px-captcha&quot; and ct.captcha-delivery.com.</p>",
    '{"jobs": [{"title": "Just a moment...", "url": "https://geo.captcha-delivery.com/"}]}',
    '[{"description": "<title>Just a moment...</title><div id=\\"px-captcha\\">"}]',
]


class Permits:
    async def take(self, bucket: str | None = None, requests: int = 1) -> Exit:  # noqa: ARG002
        return OWN_ADDRESS

    async def observe(self, observed: Observed, bucket: str | None = None) -> None: ...


@pytest.fixture
async def http() -> AsyncIterator[SiteHttp]:
    async with open_http(HttpSettings(backoff_seconds=0)) as client:
        yield site_http(client)


def site_http(client: HttpClient) -> SiteHttp:
    return SiteHttp(client, Permits())


@pytest.mark.parametrize(("vendor", "page"), [(vendor, page) for vendor, pages in CHALLENGES.items() for page in pages])
@pytest.mark.parametrize("status", [200, 202, 403, 405, 429, 503])
@respx.mock
async def test_a_bot_check_is_a_block_whatever_its_status(http: SiteHttp, vendor: str, page: str, status: int) -> None:
    route = respx.get(URL).respond(status, text=page)
    with pytest.raises(SiteError) as raised:
        await http.request("GET", URL)
    assert (raised.value.code, raised.value.is_final) == (ErrorCode.BLOCKED, False)
    assert raised.value.message == f"the site answers with a bot check ({vendor})"
    assert classify(raised.value.message) is ErrorCode.BLOCKED
    assert route.call_count == 1


@pytest.mark.parametrize(
    ("vendor", "header"),
    [("Cloudflare", ("CF-Mitigated", "challenge")), ("AWS WAF", ("x-amzn-waf-action", "captcha"))],
)
@respx.mock
async def test_a_header_can_tell_it_alone(http: SiteHttp, vendor: str, header: tuple[str, str]) -> None:
    respx.get(URL).respond(202, headers=[header, ("Retry-After", "7")])
    with pytest.raises(SiteError, match=f"bot check \\({vendor}\\)") as raised:
        await http.request("GET", URL)
    assert raised.value.retry_after_seconds == 7


@pytest.mark.parametrize("page", ORDINARY)
@respx.mock
async def test_another_page_is_no_block(http: SiteHttp, page: str) -> None:
    respx.get(URL).respond(200, text=page, headers={"x-datadome": "protected", "cf-mitigated": "no"})
    assert (await http.request("GET", URL)).status == 200
    assert captcha(page.encode()) is None


@pytest.mark.parametrize("vendor", WIDGETS)
@respx.mock
async def test_a_captcha_is_a_block_where_json_is_expected(http: SiteHttp, vendor: str) -> None:
    respx.get(URL).respond(200, html=WIDGETS[vendor])
    response = await http.request("GET", URL)
    with pytest.raises(SiteError) as raised:
        response.json()
    assert (raised.value.code, raised.value.message) == (
        ErrorCode.BLOCKED,
        f"the site answers with a bot check ({vendor})",
    )


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("<html>", "the answer is HTML, not JSON"),
        ("<!doctype html><title>\n Down &amp; out\x1b[2J</title>", "the answer is HTML, not JSON: Down & out\ufffd[2J"),
        ("\ufeff <HTML><TITLE lang='en'>key hunter2</TITLE>", "the answer is HTML, not JSON: key ***"),
        ("<html><title></title>", "the answer is HTML, not JSON"),
    ],
)
def test_any_other_page_is_named_by_its_title(page: str, message: str) -> None:
    with pytest.raises(SiteError) as raised:
        Response(200, httpx.Headers(), page.encode(), 1, secrets=("hunter2",)).json()
    assert (raised.value.code, raised.value.message) == (ErrorCode.UPSTREAM, message)
    assert classify(message) is ErrorCode.UPSTREAM


@pytest.mark.hostile
@pytest.mark.parametrize(
    "part",
    ["<script ", "<script>", "<div id=", "<meta ?bm-verify", "<title>Access Denied</title>", "class='", "<title",
     "<iframe ", "<title>Access Denied</title>errors.edgesuite.net"],
)  # fmt: skip
def test_long_pages_take_little_time(part: str) -> None:
    page = b"<html>" + part.encode() * (2**25 // len(part))
    started = time.process_time()
    bot_check({}, page)
    captcha(page)
    html_instead_of_json(page)
    assert time.process_time() - started < 1
