import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.dapr.client.DaprClientBuilder;
import io.dapr.client.DaprPreviewClient;
import io.dapr.exceptions.DaprException;
import io.grpc.Status;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;

/** The driver of the Java SDK: requests and answers as lines of JSON, see ../README.md. */
public final class Driver {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static DaprPreviewClient client;

    public static void main(String[] arguments) throws IOException {
        PrintStream output = System.out;
        System.setOut(System.err);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            JsonNode request = JSON.readTree(line);
            ObjectNode answer = JSON.createObjectNode().put("id", request.get("id").asInt());
            try {
                call(request, answer);
                answer.put("ok", true);
            } catch (Exception error) {
                answer.put("ok", false).set("error", failureOf(error));
            }
            output.println(answer);
            output.flush();
        }
        System.exit(0);
    }

    private static void call(JsonNode request, ObjectNode answer) {
        String op = request.get("op").asText();
        if (op.equals("connect")) {
            client = new DaprClientBuilder().buildPreviewClient();
            return;
        }
        String store = request.get("store").asText();
        String resource = request.get("resource").asText();
        String owner = request.get("owner").asText();
        if (op.equals("unlock")) {
            answer.put("status", client.unlock(store, resource, owner).block().getCode());
        } else {
            // A deadline comes from DAPR_API_TIMEOUT_MILLISECONDS.
            answer.put("success", client.tryLock(store, resource, owner, request.get("seconds").asInt()).block());
        }
    }

    private static ObjectNode failureOf(Exception error) {
        ObjectNode failure = JSON.createObjectNode().put("message", String.valueOf(error.getMessage()));
        if (error instanceof DaprException) {
            String code = ((DaprException) error).getErrorCode();
            for (Status.Code known : Status.Code.values()) {
                if (known.name().equals(code)) {
                    return failure.put("code", known.value());
                }
            }
        }
        return failure.put("code", "local");
    }
}
