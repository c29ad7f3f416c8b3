module portway.test/gomux

go 1.23.0

require golang.ngrok.com/muxado/v2 v2.0.1
