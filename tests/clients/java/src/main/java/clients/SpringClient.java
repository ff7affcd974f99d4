package clients;

import static clients.Steps.BASE;
import static clients.Steps.step;

import com.fasterxml.jackson.databind.JsonNode;
import java.net.URI;
import java.util.ArrayList;
import java.util.List;
import org.springframework.security.oauth2.client.AuthorizedClientServiceOAuth2AuthorizedClientManager;
import org.springframework.security.oauth2.client.InMemoryOAuth2AuthorizedClientService;
import org.springframework.security.oauth2.client.OAuth2AuthorizeRequest;
import org.springframework.security.oauth2.client.OAuth2AuthorizedClient;
import org.springframework.security.oauth2.client.registration.ClientRegistration;
import org.springframework.security.oauth2.client.registration.InMemoryClientRegistrationRepository;
import org.springframework.security.oauth2.core.AuthorizationGrantType;
import org.springframework.web.client.RestClient;

/** Spring's OAuth client gets the token, its RestClient asks with it. */
public final class SpringClient {

    private final RestClient client;

    private SpringClient() {
        RestClient.Builder builder = RestClient.builder().baseUrl(BASE);
        if (System.getenv("TOKEN_URL") != null) {
            builder.requestInterceptor((request, body, execution) -> {
                request.getHeaders().setBearerAuth(authorized().getAccessToken().getTokenValue());
                return execution.execute(request, body);
            });
        }
        client = builder.build();
    }

    private static OAuth2AuthorizedClient authorized() {
        ClientRegistration registration = ClientRegistration.withRegistrationId("gateway")
                .authorizationGrantType(AuthorizationGrantType.CLIENT_CREDENTIALS)
                .clientId(System.getenv("CLIENT_ID"))
                .clientSecret(System.getenv("CLIENT_SECRET"))
                .scope(System.getenv("TENANT"))
                .tokenUri(System.getenv("TOKEN_URL"))
                .build();
        InMemoryClientRegistrationRepository registrations = new InMemoryClientRegistrationRepository(registration);
        return new AuthorizedClientServiceOAuth2AuthorizedClientManager(
                        registrations, new InMemoryOAuth2AuthorizedClientService(registrations))
                .authorize(OAuth2AuthorizeRequest.withClientRegistrationId("gateway")
                        .principal("app")
                        .build());
    }

    public static void main(String[] arguments) throws Exception {
        SpringClient program = new SpringClient();
        if (System.getenv("TOKEN_URL") != null) {
            step("token", () -> authorized().getAccessToken().getTokenType().getValue());
        }
        step("statement", () -> program.get("/metadata").get("fhirVersion"));
        step("read", () -> program.get("/Patient/1001"));
        step("missing", () -> program.get("/Patient/nobody"));
        step("search", () -> List.of(
                Steps.resources(program.get("/Patient?family=black&given=ruth")),
                Steps.resources(program.get("/Encounter?patient=Patient/1001&_include=Encounter:location&_count=10"))));
        step("pages", program::pages);
        step("history", () -> Steps.resources(program.get("/Patient/1001/_history")));
    }

    private JsonNode get(String path) throws Exception {
        URI url = URI.create(path.startsWith("http") ? path : BASE + path);
        return Steps.JSON.readTree(client.get().uri(url).retrieve().body(String.class));
    }

    private Object pages() throws Exception {
        List<String> ids = new ArrayList<>();
        String next = "/Observation?_count=25";
        while (next != null) {
            JsonNode page = get(next);
            page.get("entry").forEach(entry -> ids.add(entry.at("/resource/id").asText()));
            next = null;
            for (JsonNode link : page.get("link")) {
                next = link.get("relation").asText().equals("next") ? link.get("url").asText() : next;
            }
        }
        return ids;
    }
}
