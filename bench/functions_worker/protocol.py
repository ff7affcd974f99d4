"""The messages of `function_rpc.proto` (`protos`) and the service that carries them (`services`)."""

import grpc

protos, services = grpc.protos_and_services("bench/functions_worker/function_rpc.proto")
