package clients;

import static clients.Steps.BASE;
import static clients.Steps.JSON;
import static clients.Steps.step;

import com.fasterxml.jackson.databind.JsonNode;
import java.net.URI;
import java.util.ArrayList;
import java.util.List;
import org.apache.hc.client5.http.classic.methods.HttpGet;
import org.apache.hc.client5.http.classic.methods.HttpHead;
import org.apache.hc.client5.http.classic.methods.HttpPost;
import org.apache.hc.client5.http.classic.methods.HttpUriRequestBase;
import org.apache.hc.client5.http.entity.UrlEncodedFormEntity;
import org.apache.hc.client5.http.impl.classic.CloseableHttpClient;
import org.apache.hc.client5.http.impl.classic.HttpClients;
import org.apache.hc.core5.http.io.entity.EntityUtils;
import org.apache.hc.core5.http.message.BasicNameValuePair;

/** Apache HttpClient as programs use it by itself: a form for the token, GET and HEAD for FHIR, with its own headers. */
public final class ApacheClient {

    private final CloseableHttpClient client = HttpClients.createDefault();
    private String token;

    private record Answer(int status, String mediaType, String body) {
        JsonNode json() throws Exception {
            return JSON.readTree(body);
        }
    }

    public static void main(String[] arguments) throws Exception {
        ApacheClient program = new ApacheClient();
        if (System.getenv("TOKEN_URL") != null) {
            step("token", program::token);
        }
        step("statement", () -> program.get("metadata").json().get("fhirVersion"));
        step("read", () -> List.of(
                program.get("Patient/1001"), program.send(new HttpHead(BASE + "/Patient/1001")).status));
        step("missing", () -> program.get("Patient/nobody"));
        step("search", () -> List.of(
                Steps.resources(program.get("Patient?family=black&given=ruth").json()),
                Steps.resources(program.get("Encounter?patient=Patient%2F1001&_include=Encounter%3Alocation").json())));
        step("post", program::post);
        step("pages", program::pages);
        step("history", () -> Steps.resources(program.get("Patient/1001/_history").json()));
    }

    private Object token() throws Exception {
        List<BasicNameValuePair> form = List.of(
                new BasicNameValuePair("grant_type", "client_credentials"),
                new BasicNameValuePair("client_id", System.getenv("CLIENT_ID")),
                new BasicNameValuePair("client_secret", System.getenv("CLIENT_SECRET")),
                new BasicNameValuePair("scope", System.getenv("TENANT")));
        HttpPost request = new HttpPost(System.getenv("TOKEN_URL"));
        request.setEntity(new UrlEncodedFormEntity(form));
        JsonNode granted = send(request).json();
        token = granted.path("access_token").asText();
        return granted.get("token_type");
    }

    private Answer get(String path) throws Exception {
        return send(new HttpGet(path.startsWith("http") ? path : BASE + "/" + path));
    }

    private Object post() throws Exception {
        HttpPost request = new HttpPost(BASE + "/Patient/_search");
        request.setEntity(new UrlEncodedFormEntity(
                List.of(new BasicNameValuePair("family", "black"), new BasicNameValuePair("given", "ruth"))));
        return Steps.resources(send(request).json());
    }

    private Object pages() throws Exception {
        List<String> ids = new ArrayList<>();
        String next = "Observation?_count=25";
        while (next != null) {
            JsonNode page = get(next).json();
            page.get("entry").forEach(entry -> ids.add(entry.at("/resource/id").asText()));
            next = null;
            for (JsonNode link : page.get("link")) {
                if (link.get("relation").asText().equals("next")) {
                    next = URI.create(link.get("url").asText()).toString();
                }
            }
        }
        return ids;
    }

    private Answer send(HttpUriRequestBase request) throws Exception {
        if (token != null && !request.getUri().toString().equals(System.getenv("TOKEN_URL"))) {
            request.setHeader("Authorization", "Bearer " + token);
        }
        return client.execute(request, response -> new Answer(
                response.getCode(),
                response.getEntity() == null ? "" : response.getEntity().getContentType().split(";")[0],
                response.getEntity() == null ? "" : EntityUtils.toString(response.getEntity())));
    }
}
