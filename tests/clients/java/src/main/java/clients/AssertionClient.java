package clients;

import com.nimbusds.jose.jwk.JWK;
import java.util.Map;
import org.springframework.security.oauth2.client.endpoint.NimbusJwtClientAuthenticationParametersConverter;
import org.springframework.security.oauth2.client.endpoint.OAuth2ClientCredentialsGrantRequest;
import org.springframework.security.oauth2.client.endpoint.RestClientClientCredentialsTokenResponseClient;
import org.springframework.security.oauth2.client.registration.ClientRegistration;
import org.springframework.security.oauth2.core.AuthorizationGrantType;
import org.springframework.security.oauth2.core.ClientAuthenticationMethod;

/** Spring Security gets a token by private_key_jwt, and prints it as JSON. */
public final class AssertionClient {

    private AssertionClient() {}

    public static void main(String[] arguments) throws Exception {
        JWK key = JWK.parse(System.getenv("JWK"));
        ClientRegistration registration = ClientRegistration.withRegistrationId("gateway")
                .authorizationGrantType(AuthorizationGrantType.CLIENT_CREDENTIALS)
                .clientAuthenticationMethod(ClientAuthenticationMethod.PRIVATE_KEY_JWT)
                .clientId(System.getenv("CLIENT_ID"))
                .scope("system/*.rs")
                .tokenUri(System.getenv("TOKEN_URL"))
                .build();
        RestClientClientCredentialsTokenResponseClient client = new RestClientClientCredentialsTokenResponseClient();
        client.addParametersConverter(new NimbusJwtClientAuthenticationParametersConverter<>(any -> key));
        String token = client.getTokenResponse(new OAuth2ClientCredentialsGrantRequest(registration))
                .getAccessToken()
                .getTokenValue();
        System.out.println(Steps.JSON.writeValueAsString(Map.of("access_token", token)));
    }
}
