"""Access control: the token, the Host and Origin headers, and the security headers of every response."""

import hmac
import ipaddress
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "lvis_token"
POLICY_VIOLATION = 1008  # RFC 6455, the close code of a refused WebSocket

# nothing but what this server ships; pictures and videos that the page makes itself are blobs
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "media-src 'self' blob:; connect-src 'self'{sockets}; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


class Guard:
    """ASGI middleware. A request is let through when

    - its Host is a literal address, localhost or `host`: a name that a stranger's DNS server makes
      point here (DNS rebinding) is none of these;
    - its Origin, which browsers send with every WebSocket and every POST, is that Host;
    - with a `token`, it carries it: as `Authorization: Bearer TOKEN`, in the cookie that /?token=TOKEN
      sets, or in that query.
    """

    def __init__(self, app: ASGIApp, host: str, token: str | None) -> None:
        self.app, self.host, self.token = app, host, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(headers)
        if refusal is None and self.token is not None:
            given = QueryParams(scope["query_string"]).get("token")
            if scope["type"] == "http" and scope["path"] == "/" and given is not None:
                await self._welcome(given)(scope, receive, send)
                return
            if not self._known(headers):
                refusal = (
                    401,
                    "this page needs its token; open the address that lvis.serve printed",
                )
        if refusal is None:
            await self.app(scope, receive, self._with_headers(send, headers.get("host", "")))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": refusal[1]})
        else:
            await PlainTextResponse(refusal[1] + "\n", refusal[0], HEADERS)(scope, receive, send)

    def _refusal(self, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if not self._is_ours(host):
            return 403, "this server does not answer to that name"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return 403, "another site may not use this server"
        if headers.get("sec-fetch-site") == "cross-site":
            return 403, "another site may not use this server"
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in ("localhost", self.host.lower()):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _known(self, headers: Headers) -> bool:
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._same(bearer.strip()):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and self._same(cookie.value)

    def _same(self, given: str) -> bool:
        assert self.token is not None
        return hmac.compare_digest(given.encode(), self.token.encode())

    def _welcome(self, given: str) -> ASGIApp:
        """The token goes from the address bar into a cookie that no script can read."""
        if not self._same(given):
            return PlainTextResponse("that is not the token of this server\n", 401, HEADERS)
        response = RedirectResponse("/", 303, HEADERS)
        response.set_cookie(COOKIE, given, httponly=True, samesite="strict")
        return response

    @staticmethod
    def _with_headers(send: Send, host: str) -> Send:
        # older browsers do not count ws: as 'self'
        sockets = f" ws://{host} wss://{host}" if host else ""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers["content-security-policy"] = CONTENT_SECURITY_POLICY.format(sockets=sockets)
            await send(message)

        return sending
