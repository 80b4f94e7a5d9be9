HEADLINE = "Classic shop"
