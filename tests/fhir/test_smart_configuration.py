from shared.fhir.statement import smart_configuration

CONFIGURATION = smart_configuration("https://gateway.test/oauth2/token", "https://gateway.test/oauth2/keys")


def test_it_has_what_the_specification_requires_without_user_authorization() -> None:
    assert {
        "token_endpoint",
        "grant_types_supported",
        "capabilities",
        "code_challenge_methods_supported",
    } <= set(CONFIGURATION)
    assert "issuer" not in CONFIGURATION
    assert "authorization_endpoint" not in CONFIGURATION
    assert "plain" not in CONFIGURATION["code_challenge_methods_supported"]


def test_it_offers_client_credentials_with_a_secret_and_nothing_else() -> None:
    assert CONFIGURATION["token_endpoint"] == "https://gateway.test/oauth2/token"
    assert CONFIGURATION["jwks_uri"] == "https://gateway.test/oauth2/keys"
    assert CONFIGURATION["grant_types_supported"] == ["client_credentials"]
    assert set(CONFIGURATION["token_endpoint_auth_methods_supported"]) == {"client_secret_basic", "client_secret_post"}
    assert all(scope.startswith("system/") for scope in CONFIGURATION["scopes_supported"])
