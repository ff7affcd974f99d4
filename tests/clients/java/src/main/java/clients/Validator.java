package clients;

import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.FhirVersionEnum;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.ResultSeverityEnum;
import ca.uhn.fhir.validation.SingleValidationMessage;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.SnapshotGeneratingValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;

/**
 * HAPI's instance validator: reads {"version", "text"} from each line, the text in JSON or XML, and writes a list of
 * the errors, each as "location: message".
 */
public final class Validator {

    private final Map<FhirVersionEnum, FhirValidator> validators = new EnumMap<>(FhirVersionEnum.class);

    public static void main(String[] arguments) throws Exception {
        Validator program = new Validator();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            JsonNode asked = Steps.JSON.readTree(line);
            List<String> errors = program.errors(asked.get("version").asText(), asked.get("text").asText());
            System.out.println(Steps.JSON.writeValueAsString(errors));
        }
    }

    private List<String> errors(String version, String text) {
        return validators
                .computeIfAbsent(Steps.version(version), Validator::validator)
                .validateWithResult(text)
                .getMessages()
                .stream()
                .filter(message -> message.getSeverity().compareTo(ResultSeverityEnum.ERROR) >= 0)
                .map(Validator::described)
                .toList();
    }

    private static String described(SingleValidationMessage message) {
        return message.getLocationString() + ": " + message.getMessage();
    }

    private static FhirValidator validator(FhirVersionEnum version) {
        FhirContext context = FhirContext.forCached(version);
        ValidationSupportChain support = new ValidationSupportChain(
                new DefaultProfileValidationSupport(context),
                new CommonCodeSystemsTerminologyService(context),
                new InMemoryTerminologyServerValidationSupport(context),
                new SnapshotGeneratingValidationSupport(context));
        return context.newValidator().registerValidatorModule(new FhirInstanceValidator(support));
    }
}
