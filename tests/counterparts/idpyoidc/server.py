"""An STS on 127.0.0.1 for tests: `python server.py [CONFIGURATION]`, the configuration being JSON.

The token exchange is idpyoidc's own. This file configures it and carries requests to it the way
the project's Flask example does: whatever `parse_request` raises, failed client authentication
included, is answered with 400 and `invalid_request`.

What it prints, its control endpoints and its life are described in ../README.md.
"""

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from idpyoidc.message.oauth2 import AuthorizationRequest, ResponseMessage
from idpyoidc.server import Server
from idpyoidc.server.authn_event import create_authn_event
from idpyoidc.server.configure import ASConfiguration

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"

DEFAULTS = {
    "accessTokenTtl": 300,
    "clients": [],
    "resources": {},
}


class SecurityTokenService:
    """idpyoidc's authorization server with the users, clients and resources of one test."""

    def __init__(self, issuer, configuration):
        self._configuration = configuration
        # Sessions are plain dictionaries: one request at a time.
        self._lock = threading.Lock()
        self._requests = []
        self._server = Server(ASConfiguration(self._as_configuration(issuer), base_path="."))
        context = self._server.context
        context.map_supported_to_preferred()
        for client in configuration["clients"]:
            context.cdb[client["id"]] = self._registration(client)

    def jwks(self):
        return self._server.keyjar.export_jwks()

    def plant(self, sub, client=None):
        """Logs `sub` in at `client` (or the first one); returns the access token that brings.

        When another client exchanges that token, idpyoidc (5.0.0) leaves `aud` out of the new
        one and ends it after 60 s, though `expires_in` says what is left of the subject token.
        """
        with self._lock:
            context = self._server.context
            client = client or self._configuration["clients"][0]["id"]
            request = AuthorizationRequest(
                client_id=client,
                redirect_uri="https://login.example.com/callback",
                scope=self._scopes(),
                state="state",
                response_type="code",
            )
            manager = context.session_manager
            session = manager.create_session(
                create_authn_event(sub), request, sub, client_id=client, sub_type="raw"
            )
            grant = context.authz(session, request)
            rules = grant.usage_rules["access_token"]
            token = grant.mint_token(
                session_id=session,
                context=context,
                token_class="access_token",
                token_handler=manager.token_handler["access_token"],
                usage_rules=rules,
                token_type="Bearer",
            )
            token.set_expires_at(rules["expires_in"])
            return token.value

    def token(self, body, headers):
        """Answers a token request: status, header pairs and body."""
        with self._lock:
            status, answer_headers, answer = self._token(body, headers)
            self._record(body, headers, status, answer)
            return status, answer_headers, answer

    def stats(self):
        with self._lock:
            return {"token_requests": len(self._requests), "requests": list(self._requests)}

    def _token(self, body, headers):
        endpoint = self._server.get_endpoint("token")
        http_info = {"headers": {name.lower(): value for name, value in headers.items()}}
        try:
            request = endpoint.parse_request(body, http_info=http_info)
            answer = request if _is_error(request) else endpoint.process_request(request)
        except Exception as error:  # Every exception is an answer, as in the project's example.
            answer = ResponseMessage(error="invalid_request", error_description=str(error))
        if _is_error(answer):
            return 400, [("Content-type", "application/json")], answer.to_json()
        info = endpoint.do_response(request=request, **answer)
        return 200, info["http_headers"], info["response"]

    def _record(self, body, headers, status, answer):
        """Notes what was asked and what came of it, but no token and no secret."""
        form = parse_qs(body, keep_blank_values=True)
        noted = ["client_id", "audience", "resource", "scope", "subject_token_type",
                 "requested_token_type"]
        parameters = {name: form[name] for name in noted if name in form}
        if headers.get("authorization") is not None:
            method = "client_secret_basic"
        else:
            method = "client_secret_post" if "client_secret" in form else "none"
        self._requests.append({
            "status": status,
            "error": json.loads(answer).get("error"),
            "client_auth": method,
            **{name: values if len(values) > 1 else values[0]
               for name, values in parameters.items()},
        })

    def _scopes(self):
        scopes = {"openid"}
        for resource in self._configuration["resources"].values():
            scopes.update(resource.get("scope", "").split())
        return sorted(scopes)

    def _registration(self, client):
        method = client.get("method", "client_secret_basic")
        return {
            "client_secret": client.get("secret", ""),
            "client_salt": "salt",
            "client_authn_method": ["public" if method == "none" else method],
            "redirect_uris": [("https://login.example.com/callback", None)],
            "response_types": ["code"],
            "grant_types_supported": [GRANT_TYPE],
            "allowed_scopes": self._scopes(),
        }

    def _as_configuration(self, issuer):
        lifetime = self._configuration["accessTokenTtl"]
        audiences = list(self._configuration["resources"])
        exchange = {
            "subject_token_types_supported": [ACCESS_TOKEN],
            "requested_token_types_supported": [ACCESS_TOKEN],
            "default_requested_token_type": ACCESS_TOKEN,
            "policy": {
                "": {
                    "function": "idpyoidc.server.oauth2.token_helper"
                                ".validate_token_exchange_policy",
                    "kwargs": {
                        "resource": audiences,
                        "audience": audiences,
                        "scope": self._scopes(),
                    },
                }
            },
        }
        return {
            "issuer": issuer,
            "key_conf": {"key_defs": [{"type": "RSA", "key": "", "use": ["sig"]}]},
            "httpc_params": {"verify": True, "timeout": 1},
            "endpoint": {
                "token": {
                    "path": "token",
                    "class": "idpyoidc.server.oauth2.token.Token",
                    "kwargs": {
                        "client_authn_method": [
                            "client_secret_basic", "client_secret_post", "public",
                        ],
                        "request_format": "urlencoded",
                        "grant_types_helpers": {
                            GRANT_TYPE: {
                                "class": "idpyoidc.server.oauth2.token_helper.token_exchange"
                                         ".TokenExchangeHelper",
                                "kwargs": exchange,
                            },
                        },
                    },
                },
            },
            "userinfo": {"class": "idpyoidc.server.user_info.UserInfo", "kwargs": {"db": {}}},
            "authz": {
                "class": "idpyoidc.server.authz.AuthzHandling",
                "kwargs": {
                    "grant_config": {
                        "usage_rules": {
                            "access_token": {
                                "supports_minting": ["access_token"],
                                "expires_in": lifetime,
                            },
                        },
                        "expires_in": 43200,
                    },
                },
            },
            "token_handler_args": {
                "token": {
                    "class": "idpyoidc.server.token.jwt_token.JWTToken",
                    "kwargs": {"lifetime": lifetime, "alg": "RS256"},
                },
            },
            "session_params": {"sub_func": {
                "raw": {"class": "idpyoidc.server.session.manager.RawID"},
            }},
        }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        match self.path:
            case "/jwks":
                self._answer_json(200, self.server.service.jwks())
            case "/test/stats":
                self._answer_json(200, self.server.service.stats())
            case _:
                self._answer_json(404, {"error": "no such endpoint"})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        match self.path:
            case "/token":
                self._answer(*self.server.service.token(body, self.headers))
            case "/test/subjects":
                token = self.server.service.plant(**json.loads(body))
                self._answer_json(200, {"token": token})
            case _:
                self._answer_json(404, {"error": "no such endpoint"})

    def log_message(self, *_):
        pass

    def _answer_json(self, status, value):
        self._answer(status, [("Content-type", "application/json")], json.dumps(value))

    def _answer(self, status, headers, body):
        data = body.encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _is_error(message):
    return isinstance(message, ResponseMessage) and "error" in message


def _exit_with_parent():
    """The parent holds the other end of stdin: when it is gone, so is this process."""
    sys.stdin.buffer.read()
    os._exit(0)


def main():
    configuration = {**DEFAULTS, **json.loads(sys.argv[1] if len(sys.argv) > 1 else "{}")}
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port = http.server_address[1]
    issuer = f"http://127.0.0.1:{port}"
    http.service = SecurityTokenService(issuer, configuration)
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
