// A token by x/oauth2, with an assertion as the client's credential, printed as JSON.
package main

import (
	"context"
	"encoding/json"
	"net/url"
	"os"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

func must[T any](found T, err error) T {
	if err != nil {
		panic(err)
	}
	return found
}

func main() {
	id, tokenURL := os.Getenv("CLIENT_ID"), os.Getenv("TOKEN_URL")
	assertion := jwt.NewWithClaims(jwt.SigningMethodES384, jwt.MapClaims{
		"iss": id, "sub": id, "aud": tokenURL, "exp": time.Now().Add(4 * time.Minute).Unix(), "jti": os.Getenv("JTI"),
	})
	assertion.Header["kid"] = os.Getenv("KID")
	config := clientcredentials.Config{
		ClientID:  id,
		TokenURL:  tokenURL,
		Scopes:    []string{"system/*.rs"},
		AuthStyle: oauth2.AuthStyleInParams,
		EndpointParams: url.Values{
			"resource":              {os.Getenv("RESOURCE")},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
			"client_assertion": {must(assertion.SignedString(
				must(jwt.ParseECPrivateKeyFromPEM([]byte(os.Getenv("PEM"))))))},
		},
	}
	token := must(config.Token(context.Background()))
	must(os.Stdout.Write(must(json.Marshal(map[string]string{"access_token": token.AccessToken}))))
}
