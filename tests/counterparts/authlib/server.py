"""A partner's authorization server on 127.0.0.1 for tests: `python server.py [CONFIGURATION]`, the
configuration being JSON.

Client authentication, the judgement of assertions, and the access tokens are authlib's. This file
says who is known, and what the draft on identity assertions adds to RFC 7523: their `typ`, and the
client that they are for.

What it prints, its control endpoints and its life are described in ../README.md.
"""

import json
import os
import sys
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from authlib.oauth2.rfc6749 import (
    AuthorizationServer,
    ClientMixin,
    InvalidGrantError,
    OAuth2Payload,
    OAuth2Request,
)
from authlib.oauth2.rfc7523 import JWTBearerClientAssertion, JWTBearerGrant
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from joserfc.jwk import KeySet, RSAKey

PRIVATE_KEY_JWT = "private_key_jwt"
METHODS = ["client_secret_basic", "client_secret_post", PRIVATE_KEY_JWT, "none"]
DEFAULTS = {
    "accessTokenTtl": 300,
    "audiences": [],
    "clients": [],
    "scope": "",
    "typ": "oauth-id-jag+jwt",
}


class Client(ClientMixin):
    def __init__(self, registered, scope):
        self._id = registered["id"]
        self._secret = registered.get("secret")
        self._method = registered.get("method", "client_secret_basic")
        self._scopes = scope.split()
        self.jwks = registered.get("jwks")

    def get_client_id(self):
        return self._id

    def get_allowed_scope(self, scope):
        return " ".join(one for one in (scope or "").split() if one in self._scopes)

    def check_client_secret(self, client_secret):
        return client_secret == self._secret

    def check_endpoint_auth_method(self, method, endpoint):
        return method == self._method

    def check_grant_type(self, grant_type):
        return grant_type == JWTBearerGrant.GRANT_TYPE


class Issuer(Client):
    """Whose assertions are taken: authlib asks of it what it asks of a client."""

    def __init__(self, known):
        super().__init__({"id": known["issuer"]}, "")
        self.jwks = known["jwks"]


class User:
    def __init__(self, sub):
        self._sub = sub

    def get_user_id(self):
        return self._sub


class Payload(OAuth2Payload):
    def __init__(self, form):
        self._form = form

    @property
    def data(self):
        return {name: values[0] for name, values in self._form.items()}

    @property
    def datalist(self):
        return defaultdict(list, self._form)


class Request(OAuth2Request):
    def __init__(self, uri, body, headers):
        super().__init__("POST", uri, headers=headers)
        self.payload = Payload(parse_qs(body, keep_blank_values=True))

    @property
    def args(self):
        return {}

    @property
    def form(self):
        return self.payload.data


class PartnerServer(AuthorizationServer):
    """authlib's authorization server with the clients and issuers of one test."""

    def __init__(self, issuer, configuration):
        super().__init__(scopes_supported=configuration["scope"].split())
        self.issuer = issuer
        self.configuration = configuration
        self.names = configuration["audiences"] or [issuer]
        self.issuers = {}
        self.requests = []
        self.keys = KeySet([RSAKey.generate_key(2048, {"kid": "partner", "use": "sig"})])
        self._clients = {
            it["id"]: Client(it, configuration["scope"]) for it in configuration["clients"]
        }
        self._used = set()
        self.register_client_auth_method(PRIVATE_KEY_JWT, ClientAssertion(self))
        self.register_grant(IdentityAssertionGrant)
        self.register_token_generator("default", AccessTokens(self))

    def query_client(self, client_id):
        return self._clients.get(client_id)

    def save_token(self, token, request):
        """Nothing is kept: the tokens speak for themselves."""

    def create_oauth2_request(self, request):
        return request

    def handle_response(self, status, body, headers):
        return status, body, headers

    def send_signal(self, name, *args, **kwargs):
        pass

    def is_first_use(self, key):
        fresh = key not in self._used
        self._used.add(key)
        return fresh

    def token(self, body, headers):
        """Answers a token request: status, body and header pairs."""
        request = Request(f"{self.issuer}/token", body, headers)
        status, answer, answer_headers = self.create_token_response(request)
        self.requests.append({
            "status": status,
            "error": answer.get("error"),
            "client_auth": request.auth_method,
            "client_id": request.payload.client_id,
            "grant_type": request.payload.grant_type,
            "scope": request.payload.scope,
        })
        return status, answer, answer_headers


class ClientAssertion(JWTBearerClientAssertion):
    CLIENT_AUTH_METHOD = PRIVATE_KEY_JWT

    def __init__(self, server):
        super().__init__()
        self._server = server

    def get_audiences(self):
        return [f"{self._server.issuer}/token"]

    def validate_jti(self, claims, jti):
        return self._server.is_first_use(("client", claims["sub"], jti))

    def resolve_client_public_key(self, client):
        return KeySet.import_key_set(client.jwks or {"keys": []})


class IdentityAssertionGrant(JWTBearerGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = METHODS
    LEEWAY = 0

    def validate_token_request(self):
        client = self.authenticate_token_endpoint_client()
        self.request.client = client
        super().validate_token_request()
        # authlib has taken the issuer of the assertion for the client.
        self.request.client = client

    def extract_assertion(self, assertion):
        headers, claims = super().extract_assertion(assertion)
        wanted = self.server.configuration["typ"]
        if wanted is not None and headers.get("typ") != wanted:
            raise InvalidGrantError("the assertion has another typ")
        if wanted is not None and claims.get("client_id") != self.request.client.get_client_id():
            raise InvalidGrantError("the assertion is for another client")
        return headers, claims

    def verify_claims(self, claims):
        super().verify_claims(claims)
        jti = claims.get("jti")
        if jti is not None and not self.server.is_first_use(("assertion", claims["iss"], jti)):
            raise InvalidGrantError("the assertion was used before")

    def resolve_issuer_client(self, issuer):
        return self.server.issuers.get(issuer)

    def resolve_client_public_key(self, client):
        return KeySet.import_key_set(client.jwks)

    def authenticate_user(self, subject):
        return User(subject)

    def get_audiences(self):
        return self.server.names

    def has_granted_permission(self, client, user):
        return True


class AccessTokens(JWTBearerTokenGenerator):
    def __init__(self, server):
        ttl = server.configuration["accessTokenTtl"]
        super().__init__(server.issuer, expires_generator=ttl)
        self._server = server

    def get_jwks(self):
        return self._server.keys

    def get_audiences(self, client, user, scope):
        return self._server.names[0]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        partner = self.server.partner
        match self.path:
            case "/jwks":
                self._answer(200, partner.keys.as_dict(private=False))
            case "/test/stats":
                requests = list(partner.requests)
                self._answer(200, {"token_requests": len(requests), "requests": requests})
            case _:
                self._answer(404, {"error": "no such endpoint"})

    def do_POST(self):
        partner = self.server.partner
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        match self.path:
            case "/token":
                with self.server.lock:
                    status, answer, headers = partner.token(body, self.headers)
                self._answer(status, answer, headers)
            case "/test/issuers":
                known = json.loads(body)
                partner.issuers[known["issuer"]] = Issuer(known)
                self._answer(200, {})
            case _:
                self._answer(404, {"error": "no such endpoint"})

    def log_message(self, *_):
        pass

    def _answer(self, status, value, headers=(("Content-Type", "application/json"),)):
        data = json.dumps(value).encode()
        self.send_response(status)
        for name, field in headers:
            self.send_header(name, field)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _exit_with_parent():
    """The parent holds the other end of stdin: when it is gone, so is this process."""
    sys.stdin.buffer.read()
    os._exit(0)


def main():
    configuration = {**DEFAULTS, **json.loads(sys.argv[1] if len(sys.argv) > 1 else "{}")}
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port = http.server_address[1]
    issuer = f"http://127.0.0.1:{port}"
    http.partner = PartnerServer(issuer, configuration)
    # Which assertions were used is a plain set: one token request at a time.
    http.lock = threading.Lock()
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    print(json.dumps({
        "port": port,
        "issuer": issuer,
        "token_endpoint": f"{issuer}/token",
        "jwks_uri": f"{issuer}/jwks",
    }), flush=True)
    http.serve_forever()


if __name__ == "__main__":
    main()
